//! Parts that views are made of: pure functions of plain data and the palette.

pub mod basics;
pub mod charts;
pub mod tile;

pub use basics::{
    action_button, badge, card, chip, empty_state, icon_button, key_cap, number, primary_button,
    section, swatch, value_row,
};

//! Parts that views are made of: pure functions of plain data and the palette.

pub mod bars;
pub mod basics;
pub mod charts;
pub mod confusion;
pub mod curves;
pub mod histogram;
pub mod parts;
pub mod report_table;
pub mod runs_table;
pub mod thumb_grid;
pub mod tile;

pub use basics::{
    action_button, badge, chip, empty_state, icon_button, key_cap, number, primary_button, section,
    swatch, value_row, value_row_wide,
};

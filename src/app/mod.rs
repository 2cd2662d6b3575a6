//! The workbench window: `logic` changes the state, `ui` paints it, views send commands.

pub mod command;
pub mod context;
pub mod filter;
pub mod icons;
pub mod keymap;
pub mod predictions;
pub mod session;
pub mod state;
pub mod textures;
pub mod theme;
pub mod views;
pub mod walk;
pub mod widgets;

//! The workbench window.

pub mod command;
pub mod icons;
pub mod keymap;
pub mod predictions;
pub mod state;
pub mod theme;
pub mod views;
pub mod widgets;

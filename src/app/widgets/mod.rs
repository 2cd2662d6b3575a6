//! What the views are made of: functions of plain data and a palette.

pub mod bars;
pub mod confusion;
pub mod curves;
pub mod histogram;
pub mod parts;
pub mod report_table;
pub mod runs_table;
pub mod thumb_grid;

//! Driftscope: a desktop workbench to label, train, audit and retrain on inspection images.
//!
//! The layers, from the bottom: plain data and mechanisms ([`domain`], [`jobs`], [`storage`]), data
//! sets and numbers ([`dataset`], [`labels`], [`imaging`], [`evaluation`], [`drift`], [`queue`]),
//! networks (`models`, `training`, `inference`), what a user can do ([`project`], [`workflows`]), and
//! the two ways to do it (`app`, [`cli`]). An arrow only ever points down; `tests/architecture.rs`
//! enforces the table in `docs/ARCHITECTURE.md`.

pub mod domain;
pub mod jobs;
pub mod storage;

pub mod dataset;
pub mod drift;
pub mod evaluation;
pub mod imaging;
pub mod labels;
pub mod queue;

#[cfg(feature = "torch")]
pub mod inference;
#[cfg(feature = "torch")]
pub mod models;
#[cfg(feature = "torch")]
pub mod training;

pub mod project;
pub mod workflows;

#[cfg(feature = "gui")]
pub mod app;
pub mod cli;

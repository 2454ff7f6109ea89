//! Reports: what a run found out, as data, and every way of showing and judging it.

pub mod format;
pub mod hgrm;
pub mod hlog;
pub mod model;
pub mod stats;
pub mod threshold;

pub use model::{Report, SCHEMA, Stat, Status};

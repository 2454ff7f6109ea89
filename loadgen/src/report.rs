//! Reports: what a run found out, as data, and every way of showing and judging it.

pub mod model;
pub mod stats;

pub use model::{Report, SCHEMA, Stat, Status};

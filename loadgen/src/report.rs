//! Reports: what a run found out, as data, and every way of showing and judging it.

pub mod compare;
pub mod csv;
pub mod format;
pub mod hgrm;
pub mod hlog;
pub mod merge;
pub mod model;
pub mod stats;
pub mod text;
pub mod threshold;

pub use model::{Report, SCHEMA, Stat, Status};

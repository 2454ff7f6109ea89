//! The command line: what is asked, and where answers go.

pub mod args;
pub mod argv;
pub mod destinations;
pub mod help;
pub mod output;
pub mod print;
pub mod problem;
pub mod signals;
pub mod values;

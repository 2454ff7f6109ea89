//! What the machine gives and says: clocks, addresses to connect from, `/proc`.

pub mod address;
pub mod clock;
pub mod procfs;
pub mod source_addresses;

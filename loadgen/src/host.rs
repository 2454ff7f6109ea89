//! What the machine gives and says: clocks, addresses to connect from, `/proc`.

pub mod address;
pub mod ceiling;
pub mod clock;
pub mod limits;
pub mod procfs;
pub mod source_addresses;
pub mod system_error;
pub mod usage;

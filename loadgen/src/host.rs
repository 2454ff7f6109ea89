//! What the machine gives and says: clocks, addresses to connect from, `/proc`.

pub mod address;
pub mod ceiling;
pub mod clock;
pub mod clock_error;
pub mod limits;
pub mod procfs;
pub mod source_addresses;
pub mod stamps;
pub mod system_error;
pub mod tcp_info;
pub mod tls_config;
pub mod usage;

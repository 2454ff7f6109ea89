//! loadgen: an open-loop WebSocket load generator that counts latency from the schedule.

pub mod report;

//! The fourth storey: clients that other people wrote.
//!
//! Only they can show that we read the specifications as the world does. Those in Rust are here; `run` brings those in
//! Python, Node, Perl, Ruby, Flash and a browser, `autobahn/run` the suite of that name.

mod tungstenite;

//! What a handshake costs rustls alone: the server's part of it, in memory.

use std::io;
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::other;

/// CPU time of one of so many, in nanoseconds.
pub fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, count: usize) -> io::Result<f64> {
    let mut spent = 0.0;
    for _ in 0..count {
        let name = ServerName::try_from("localhost").map_err(other)?;
        let mut client = ClientConnection::new(client.clone(), name).map_err(other)?;
        let mut began = now()?;
        let mut server = ServerConnection::new(server.clone()).map_err(other)?;
        while client.is_handshaking() || server.is_handshaking() {
            spent += now()? - began;
            let mut said = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut said)?;
            }
            let mut answer = Vec::new();
            began = now()?;
            let mut rest = &said[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest)?;
                server.process_new_packets().map_err(other)?;
            }
            while server.wants_write() {
                server.write_tls(&mut answer)?;
            }
            spent += now()? - began;
            let mut rest = &answer[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest)?;
                client.process_new_packets().map_err(other)?;
            }
            began = now()?;
        }
        drop(server);
        spent += now()? - began;
    }
    Ok(spent / count as f64)
}

fn now() -> io::Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

//! What rustls takes by itself, in memory: for each message one record opened and one sealed, by its unbuffered API.

use std::io::Write;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig, ServerConnection};

use crate::process::cpu;

/// Records at hand in each round, of all connections together.
const RECORDS: usize = 2_000;

/// One end that is measured, and the other.
struct Pair {
    client: UnbufferedClientConnection,
    server: ServerConnection,
    /// What the server has sealed: a record after the other.
    records: Vec<Vec<u8>>,
}

/// Connections that take turns, so that what the caches forget of one meanwhile is as in a run over sockets or less.
pub struct Alone {
    pairs: Vec<Pair>,
    reply: Vec<u8>,
    message: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Alone {
    /// So many connections, and the sizes of the frames that go to and fro.
    pub fn new(
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
        connections: usize,
        (reply, message): (usize, usize),
    ) -> Alone {
        let outgoing = vec![0; message + 64];
        let pairs = (0..connections).map(|_| Pair::new(server, client)).collect();
        Alone { pairs, reply: vec![7; reply], message: vec![7; message], outgoing }
    }

    /// CPU time a message, ns, in so many rounds.
    pub fn cost(&mut self, rounds: usize) -> f64 {
        let each = RECORDS.div_ceil(self.pairs.len());
        let mut spent = 0.0;
        for _ in 0..rounds {
            for pair in &mut self.pairs {
                pair.records = (0..each).map(|_| pair.seal(&self.reply)).collect();
            }
            let began = cpu();
            for at in 0..each {
                for pair in &mut self.pairs {
                    pair.open(at, self.reply.len());
                    pair.say(&self.message, &mut self.outgoing);
                }
            }
            spent += cpu() - began;
        }
        spent / (rounds * each * self.pairs.len()) as f64
    }
}

impl Pair {
    fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Pair {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let client = UnbufferedClientConnection::new(client.clone(), name).expect("a configuration");
        let server = ServerConnection::new(server.clone()).expect("a configuration");
        let mut pair = Pair { client, server, records: Vec::new() };
        let (mut incoming, mut said) = (Vec::new(), Vec::new());
        loop {
            let UnbufferedStatus { discard, state } = pair.client.process_tls_records(&mut incoming);
            match state.expect("a handshake") {
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut room = vec![0; 4096];
                    let size = data.encode(&mut room).expect("room");
                    said.extend_from_slice(&room[..size]);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(_) if said.is_empty() && !pair.server.is_handshaking() => {
                    return pair;
                }
                _ => {
                    let mut rest = &std::mem::take(&mut said)[..];
                    while !rest.is_empty() {
                        pair.server.read_tls(&mut rest).expect("from memory");
                        pair.server.process_new_packets().expect("a handshake");
                    }
                    incoming.drain(..discard);
                    incoming.append(&mut pair.said_by_server());
                    continue;
                }
            }
            incoming.drain(..discard);
        }
    }

    fn said_by_server(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut out).expect("into memory");
        }
        out
    }

    fn seal(&mut self, reply: &[u8]) -> Vec<u8> {
        self.server.writer().write_all(reply).expect("into memory");
        self.said_by_server()
    }

    /// What is longer than a record comes in two.
    fn open(&mut self, at: usize, size: usize) {
        let (mut used, mut opened) = (0, 0);
        while opened < size {
            let UnbufferedStatus { discard, state } =
                self.client.process_tls_records(&mut self.records[at][used..]);
            used += discard;
            let Ok(ConnectionState::ReadTraffic(mut traffic)) = state else { panic!("no record came") };
            while let Some(record) = traffic.next_record() {
                let record = record.expect("a good one");
                used += record.discard;
                opened += record.payload.len();
            }
        }
    }

    fn say(&mut self, message: &[u8], outgoing: &mut [u8]) {
        match self.client.process_tls_records(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(message, outgoing).expect("room");
            }
            _ => panic!("messages may go out"),
        }
    }
}

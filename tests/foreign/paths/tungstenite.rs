//! Rust's `tungstenite` against a server at URL; over rustls, in a build with the feature `tls`, where that is wss://: then
//! SSL_CERT_FILE names whom to trust. usage: paths-tungstenite URL CASES

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use std::{env, thread};
use tungstenite::client::{ClientRequestBuilder, client};
use tungstenite::http::HeaderMap;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(5);

fn main() {
    let mut arguments = env::args().skip(1);
    let (url, cases) = (arguments.next().expect("URL"), arguments.next().expect("CASES"));
    let cases: Vec<Value> = serde_json::from_str(&cases).expect("cases in JSON");
    let attempts: Vec<_> = cases
        .into_iter()
        .map(|case| {
            let url = url.clone();
            thread::spawn(move || attempt(&url, &case))
        })
        .collect();
    let outcomes: Vec<String> =
        attempts.into_iter().map(|attempt| attempt.join().expect("no panic")).collect();
    writeln!(io::stdout(), "{}", serde_json::to_string(&outcomes).expect("text")).expect("stdout");
}

struct Case<'a> {
    case: &'a Value,
    started: Instant,
    seen: Vec<String>,
}

impl Case<'_> {
    fn late(&self) -> &'static str {
        let Some(late) = self.case["late"].as_u64() else { return "" };
        if self.started.elapsed() >= Duration::from_millis(late * 95 / 100) { " late" } else { " too early" }
    }

    /// What the case wants to see of the answer.
    fn show(&mut self, headers: &HeaderMap) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match self.case["show"].as_str() {
            Some("protocol") => {
                let name = header("Sec-WebSocket-Protocol").unwrap_or_else(|| "none".to_owned());
                self.seen.push(format!("subprotocol {name}"));
            }
            Some("extensions") => {
                self.seen
                    .push(header("Sec-WebSocket-Extensions").unwrap_or_else(|| "no extension".to_owned()));
            }
            Some("cookie") => self.seen.push(format!("header {}", header("Set-Cookie").unwrap_or_default())),
            _ => {}
        }
    }

    /// Reads what comes, until it ends: how it does.
    fn read(&mut self, socket: &mut WebSocket<Box<dyn Stream>>) -> String {
        let until = self.case["until"].as_u64();
        let (mut messages, mut size, mut is_closing) = (0, 0, false);
        let end = loop {
            if until == Some(messages) && !is_closing {
                is_closing = true;
                let _ = socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }));
            }
            match socket.read() {
                Ok(Message::Close(frame)) => {
                    break match frame {
                        Some(frame) if frame.reason.is_empty() => format!("closed {}", u16::from(frame.code)),
                        Some(frame) => format!("closed {} \"{}\"", u16::from(frame.code), frame.reason),
                        None => "closed without a code".to_owned(),
                    };
                }
                Ok(Message::Pong(_)) => break "pong".to_owned(),
                Ok(Message::Ping(_) | Message::Frame(_)) => {}
                Ok(_) if is_closing => {}
                Ok(message) => {
                    messages += 1;
                    size = message.len();
                    let late = self.late();
                    if self.case["show"] == "offer" {
                        let report: Value = serde_json::from_slice(&message.into_data()).expect("JSON");
                        let offered = report["extensions"]["offered"].as_array().expect("a list").len();
                        self.seen.push(format!(
                            "offers {}",
                            if offered == 0 { "no extension" } else { "extensions" }
                        ));
                    } else if message.is_text() {
                        self.seen.push(format!("\"{}\"{late}", message.into_text().expect("text")));
                    }
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break match (self.case["ping"] == true, is_closing) {
                        (true, _) => "open, no pong".to_owned(),
                        (_, true) => "still closing".to_owned(),
                        _ => "open".to_owned(),
                    };
                }
                Err(error) => break format!("failed: {error}"),
            }
        };
        if messages > 3 {
            self.seen.push(format!("{messages} messages of {size} bytes"));
        }
        end
    }

    fn end(mut self, text: &str) -> String {
        let late = if self.seen.iter().any(|each| each.contains("late")) { "" } else { self.late() };
        self.seen.push(format!("{text}{late}"));
        self.seen.join("; ")
    }
}

/// A byte stream to the server, plain or not.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The socket, and what is spoken on it.
fn connect(url: &str) -> (TcpStream, Box<dyn Stream>) {
    let (scheme, address) = url.split_once("://").expect("a URL");
    let socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let stream = socket.try_clone().expect("a descriptor");
    let stream: Box<dyn Stream> = match scheme {
        #[cfg(feature = "tls")]
        "wss" => Box::new(secure::client(address, stream)),
        _ => Box::new(stream),
    };
    (socket, stream)
}

#[cfg(feature = "tls")]
mod secure {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use std::net::TcpStream;
    use std::sync::Arc;

    pub fn client(address: &str, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        let trusted = std::env::var("SSL_CERT_FILE").expect("whom to trust");
        roots.add(CertificateDer::from_pem_file(trusted).expect("PEM")).expect("an authority");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let host = address.rsplit_once(':').expect("a port").0.to_owned();
        let name = ServerName::try_from(host).expect("a name");
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream)
    }
}

fn attempt(url: &str, case: &Value) -> String {
    let mut seen = Case { case, started: Instant::now(), seen: Vec::new() };
    let base = match case["user"].as_str() {
        Some(user) => url.replace("//", &format!("//{user}@")),
        None => url.to_owned(),
    };
    let path = case["path"].as_str().expect("a path");
    let uri = match format!("{base}/ws/{path}").parse() {
        Ok(uri) => uri,
        Err(error) => return format!("refused: {error}"),
    };
    let mut request = ClientRequestBuilder::new(uri);
    for protocol in case["protocols"].as_array().into_iter().flatten() {
        request = request.with_sub_protocol(protocol.as_str().expect("a name"));
    }
    let (wire, stream) = connect(url);
    let (mut socket, response) = match client(request, stream) {
        Ok(opened) => opened,
        Err(HandshakeError::Interrupted(_)) => return "no answer".to_owned(),
        Err(HandshakeError::Failure(Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock => {
            return "no answer".to_owned();
        }
        Err(HandshakeError::Failure(error)) => return format!("failed: {error}"),
    };
    seen.show(response.headers());
    for text in case["say"].as_array().into_iter().flatten() {
        socket.send(Message::text(text.as_str().expect("text"))).expect("the server takes it");
    }
    if case["ping"] == true {
        socket.send(Message::Ping("hello".into())).expect("the server takes it");
    }
    let end = seen.read(&mut socket);
    let _ = wire.shutdown(Shutdown::Both);
    seen.end(&end)
}

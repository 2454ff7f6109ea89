//! Short conversations.

use crate::scene::Scene;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use support::client::{Client, SWITCHING, shown, upgrade};

/// What comes back for `bytes`, up to the end of the connection, however that comes. The server need not take them all.
pub fn answer(client: Client, bytes: &[u8]) -> Vec<u8> {
    converse(client, bytes, false)
}

/// The same, with a FIN behind them.
pub fn says_all(client: Client, bytes: &[u8]) -> Vec<u8> {
    converse(client, bytes, true)
}

fn converse(mut client: Client, bytes: &[u8], finishes: bool) -> Vec<u8> {
    let writer = client.twin();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = (&writer.stream).write_all(bytes);
            if finishes {
                let _ = writer.stream.shutdown(Shutdown::Write);
            }
        });
        let mut heard = Vec::new();
        match client.stream.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
            Err(error) => panic!("{error} after {}, for {}", shown(&heard), shown(bytes)),
        }
        heard
    })
}

/// Sends each of these requests, and expects an answer of one of these statuses, and an end.
pub fn refuses(scene: &Scene, statuses: &[u16], requests: &[impl AsRef<[u8]>]) {
    for request in requests {
        let request = request.as_ref();
        let heard = answer(Client::connect(scene.server.echo), request);
        let text = String::from_utf8_lossy(&heard);
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let is_expected = status.is_some_and(|status| statuses.contains(&status));
        assert!(is_expected, "{statuses:?} expected for {}, and not {}", shown(request), shown(&heard));
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one answer for {}", shown(request));
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        assert!(head.contains("\r\nconnection: close"), "{head}");
    }
}

/// Sends each of these as frames, and expects to be closed with `code` after `echoes`, whatever else.
pub fn closes(scene: &Scene, code: u16, conversations: &[impl AsRef<[u8]>]) {
    for frames in conversations {
        let heard = answer(scene.open(), frames.as_ref());
        let at = heard.len().checked_sub(2).and_then(|_| heard.iter().rposition(|byte| *byte == 0x88));
        let told =
            at.and_then(|at| heard.get(at + 2..at + 4)).map(|code| u16::from_be_bytes([code[0], code[1]]));
        assert_eq!(told, Some(code), "{} for {}", shown(&heard), shown(frames.as_ref()));
    }
}

/// Sends each of these as requests, and expects 101 and then `echo` of what is behind it.
pub fn opens(scene: &Scene, heads: &[impl AsRef<[u8]>]) {
    for head in heads {
        let mut client = Client::connect(scene.server.echo);
        client.send(head);
        let mut line = [0; 12];
        client.stream.read_exact(&mut line).expect("an answer");
        assert_eq!(&line, b"HTTP/1.1 101", "for {}", shown(head.as_ref()));
        client.reset();
    }
}

/// A request with other lines in it, in front of its last.
pub fn request(lines: &str) -> Vec<u8> {
    upgrade("/echo", lines).into_bytes()
}

/// A request in which `from` is `to`.
pub fn changed(from: &str, to: &str) -> Vec<u8> {
    let request = upgrade("/echo", "");
    assert!(request.contains(from), "{request} has no {from}");
    request.replace(from, to).into_bytes()
}

/// Opens a client and says `frames`, which have to be echoed as `echo`.
pub fn echoes(scene: &Scene, frames: &[u8], echo: &[u8]) {
    let mut client = Client::connect(scene.server.echo);
    client.send([&request(""), frames].concat());
    client.expect([SWITCHING.as_bytes(), echo].concat());
    client.reset();
}

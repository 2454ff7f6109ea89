//! A thread that answers every message with a frame of the same payload and nothing else: no checks, no limits, no
//! fairness.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

struct Peer {
    stream: TcpStream,
    /// The handshake is over.
    open: bool,
    /// What has come of a message that is not whole.
    input: Vec<u8>,
}

/// Starts the null peer on a thread that lives as long as the program, and says where it listens.
///
/// # Errors
/// The system's.
pub fn null_peer() -> std::io::Result<SocketAddr> {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    let address = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    std::thread::spawn(move || {
        let mut events = Events::with_capacity(256);
        let mut peers: Vec<Option<Peer>> = vec![None];
        let mut buffer = vec![0; 64 * 1024];
        while poll.poll(&mut events, None).is_ok() {
            for event in &events {
                if event.token() == Token(0) {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let _ = stream.set_nodelay(true);
                        if poll
                            .registry()
                            .register(&mut stream, Token(peers.len()), Interest::READABLE)
                            .is_ok()
                        {
                            peers.push(Some(Peer { stream, open: false, input: Vec::new() }));
                        }
                    }
                } else if let Some(slot) = peers.get_mut(event.token().0)
                    && let Some(peer) = slot
                    && !serve(peer, &mut buffer)
                {
                    *slot = None;
                }
            }
        }
    });
    Ok(address)
}

/// Answers what has come; false when the connection is over.
fn serve(peer: &mut Peer, buffer: &mut [u8]) -> bool {
    loop {
        let n = match peer.stream.read(buffer) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        };
        if !take(peer, &buffer[..n]) {
            return false;
        }
        // A short read took all there was; more to come is another event.
        if n < buffer.len() {
            return true;
        }
    }
}

/// Answers what `new` makes whole; false when the connection is over.
fn take(peer: &mut Peer, new: &[u8]) -> bool {
    if !peer.open {
        peer.open = true;
        let head = std::str::from_utf8(new).unwrap_or_default();
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        return peer.stream.write_all(crate::protocol::handshake::acceptance(key).as_bytes()).is_ok();
    }
    peer.input.extend_from_slice(new);
    let (mut from, mut reply) = (0, Vec::with_capacity(peer.input.len()));
    while let Some(length) = echo(&peer.input[from..], &mut reply) {
        from += length;
    }
    peer.input.drain(..from);
    let ended = peer.input.first() == Some(&0x88);
    !ended && write(&mut peer.stream, &reply).is_ok()
}

/// Writes the echo of the message at the front of `input` to `reply` and says how long it was; `None` when it has not all
/// come, or is none.
fn echo(input: &[u8], reply: &mut Vec<u8>) -> Option<usize> {
    let &[first, second, ..] = input else { return None };
    // RFC 6455, section 5.2: the length is in the second byte, or in the two or eight behind it.
    let (extended, length) = match second & 0x7F {
        126 => (2, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
        127 => (8, usize::try_from(u64::from_be_bytes(input.get(2..10)?.try_into().ok()?)).ok()?),
        short => (0, usize::from(short)),
    };
    let head = 2 + extended;
    let key = input.get(head..head + 4)?;
    let payload = input.get(head + 4..(head + 4).checked_add(length)?)?;
    if first == 0x88 {
        return None;
    }
    reply.extend_from_slice(&[first, second & 0x7F]);
    reply.extend_from_slice(&input[2..head]);
    reply.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    Some(head + 4 + length)
}

/// Writes all of `bytes`: loadgen reads what comes, so that a full socket does not stay full.
fn write(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_size_come_back_unmasked() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let (mut client, mut server) = (vec![0x82], vec![0x82]);
            let extended = match length {
                0..126 => vec![length as u8],
                126..65_536 => [&[126][..], &(length as u16).to_be_bytes()].concat(),
                _ => [&[127][..], &(length as u64).to_be_bytes()].concat(),
            };
            client.push(extended[0] | 0x80);
            client.extend(&extended[1..]);
            client.extend([1, 2, 3, 4]);
            client.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
            server.extend(&extended);
            server.extend(&payload);
            let mut reply = Vec::new();
            assert_eq!(echo(&client[..client.len() - 1], &mut reply), None, "{length}");
            assert_eq!((echo(&client, &mut reply), reply == server), (Some(client.len()), true), "{length}");
        }
        assert_eq!(echo(&[0x88, 0x80, 1, 2, 3, 4], &mut Vec::new()), None);
    }
}

//! A thread that answers every byte stream with frames of the same payload and nothing else: no checks, no buffers, no
//! fairness.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

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
        let mut streams: Vec<Option<(TcpStream, bool)>> = vec![None];
        let mut buffer = vec![0; 64 * 1024];
        while poll.poll(&mut events, None).is_ok() {
            for event in &events {
                if event.token() == Token(0) {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let _ = stream.set_nodelay(true);
                        if poll
                            .registry()
                            .register(&mut stream, Token(streams.len()), Interest::READABLE)
                            .is_ok()
                        {
                            streams.push(Some((stream, false)));
                        }
                    }
                } else if let Some(slot) = streams.get_mut(event.token().0)
                    && let Some((stream, open)) = slot
                    && !serve(stream, open, &mut buffer)
                {
                    *slot = None;
                }
            }
        }
    });
    Ok(address)
}

/// Answers what has come; false when the connection is over.
fn serve(stream: &mut TcpStream, open: &mut bool, buffer: &mut [u8]) -> bool {
    let n = match stream.read(buffer) {
        Ok(0) => return false,
        Ok(n) => n,
        Err(e) => return e.kind() == ErrorKind::WouldBlock,
    };
    if !*open {
        *open = true;
        let head = std::str::from_utf8(&buffer[..n]).unwrap_or_default();
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        return stream.write_all(crate::protocol::handshake::acceptance(key).as_bytes()).is_ok();
    }
    // Messages here are 128 bytes and never split: two bytes of header, two of length, four of mask.
    let (mut from, mut to) = (0, 0);
    while from + 8 <= n && buffer[from + 1] == 0x80 | 126 {
        let len = usize::from(u16::from_be_bytes([buffer[from + 2], buffer[from + 3]]));
        let key = [buffer[from + 4], buffer[from + 5], buffer[from + 6], buffer[from + 7]];
        if from + 8 + len > n {
            return false;
        }
        buffer.copy_within(from..from + 4, to);
        buffer[to + 1] = 126;
        buffer.copy_within(from + 8..from + 8 + len, to + 4);
        for (byte, k) in buffer[to + 4..to + 4 + len].iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= k;
        }
        from += 8 + len;
        to += 4 + len;
    }
    // Anything else is the end: a Close.
    from == n && stream.write_all(&buffer[..to]).is_ok()
}

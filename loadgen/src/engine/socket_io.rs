//! Bytes in and out of one connection.

use std::io::{ErrorKind, Read, Write};

use crate::engine::connection::{Outbox, Rest, Stage};
use crate::engine::in_flight::NONE;
use crate::engine::worker::Worker;
use crate::host::clock;
use crate::protocol::frame::{self, Header, Opcode};
use crate::protocol::handshake::HEAD_MAX;
use crate::protocol::hixie::{self, Piece};

/// Beyond the longest message sent, what a server may say in one message of its own.
const COURTESY: usize = 1 << 20;

/// Bytes read from one connection before the others get their turn.
const TURN: usize = 1 << 20;

impl Worker {
    /// Connection `i` has something to say; returns the time.
    pub fn ready(&mut self, i: usize, readable: bool, writable: bool, ended: bool) -> u64 {
        // Events of a connection that ended in the same round mean nothing.
        if self.conns[i].stage == Stage::Connecting && (writable || ended) {
            self.connected(i);
        }
        if matches!(self.conns[i].stage, Stage::Connecting | Stage::Gone) {
            return clock::now();
        }
        if writable && self.conns[i].outbox.is_some() {
            self.flush(i);
        }
        if readable || ended { self.read(i, ended) } else { clock::now() }
    }

    /// Reads what has come. Returns the time of the last read.
    fn read(&mut self, i: usize, ended: bool) -> u64 {
        let mut turn = 0;
        loop {
            // The buffer leaves the worker while its content is looked at.
            let mut scratch = std::mem::take(&mut self.scratch);
            let result = match &mut self.conns[i].stream {
                Some(stream) => stream.read(&mut scratch),
                None => Err(ErrorKind::WouldBlock.into()),
            };
            let now = clock::now();
            let taken = match result {
                Ok(0) => {
                    self.scratch = scratch;
                    let refused =
                        (self.conns[i].stage == Stage::Upgrading).then(|| self.cut_short(i)).flatten();
                    self.lose(
                        i,
                        refused.unwrap_or_else(|| "open: ended by the server without a Close".into()),
                    );
                    return now;
                }
                Ok(n) => {
                    self.read_at(n, now);
                    let taken = self.input(i, &scratch[..n], now);
                    turn += n;
                    // A short read means that the socket is empty: no need to be told so by another call.
                    let more = n == scratch.len() || ended;
                    taken.map(|()| more)
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => Ok(true),
                Err(e) => {
                    self.broken(i, &e);
                    Ok(false)
                }
            };
            self.scratch = scratch;
            match taken {
                Ok(true) if turn < TURN => {}
                Ok(true) => self.look_again(i),
                Ok(false) => return now,
                Err(reason) => {
                    self.lose(i, reason);
                    return now;
                }
            }
            if turn >= TURN {
                return now;
            }
        }
    }

    /// Makes the poll report connection `i` again although nothing new arrives.
    fn look_again(&mut self, i: usize) {
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        if let Some(stream) = &mut self.conns[i].stream
            && let Err(e) = mio::Registry::reregister(self.poll.registry(), stream, mio::Token(i), both)
        {
            self.broken(i, &e);
        }
    }

    /// Takes the bytes just read, behind those kept from before.
    fn input(&mut self, i: usize, bytes: &[u8], now: u64) -> Result<(), String> {
        let kept = match &mut self.conns[i].rest {
            Some(rest) => std::mem::take(&mut rest.raw),
            None => Vec::new(),
        };
        if kept.is_empty() {
            let used = self.consume(i, bytes, now)?;
            self.keep(i, Vec::new(), &bytes[used..]);
        } else {
            let mut raw = kept;
            raw.extend_from_slice(bytes);
            let used = self.consume(i, &raw, now)?;
            raw.drain(..used);
            self.keep(i, raw, &[]);
        }
        Ok(())
    }

    /// Keeps `raw` and `more` until more comes, and gives memory back when there is nothing to keep.
    fn keep(&mut self, i: usize, mut raw: Vec<u8>, more: &[u8]) {
        let conn = &mut self.conns[i];
        if conn.stage == Stage::Gone {
            return;
        }
        if raw.is_empty() && more.is_empty() {
            if conn.rest.as_ref().is_some_and(|rest| rest.opcode.is_none()) {
                conn.rest = None;
            }
            return;
        }
        raw.extend_from_slice(more);
        conn.rest.get_or_insert_with(Box::<Rest>::default).raw = raw;
    }

    /// Understands as much of `input` as is whole; returns how much that was.
    fn consume(&mut self, i: usize, input: &[u8], now: u64) -> Result<usize, String> {
        let mut at = 0;
        if self.conns[i].stage == Stage::Upgrading {
            match self.upgraded(i, &input[..input.len().min(HEAD_MAX + hixie::DIGEST)], now)? {
                Some(size) => at = size,
                None => return Ok(0),
            }
        }
        if self.spec.extras.draft.is_hixie() {
            return Ok(at + self.consume_hixie(i, &input[at..], now)?);
        }
        let (limit, deflate) = (self.limit(), self.deflate.is_some());
        while let Some(header) =
            Header::parse(&input[at..], limit, deflate).map_err(|e| format!("open: {e}"))?
        {
            let end = at + header.size + header.len;
            if input.len() < end {
                break;
            }
            self.frame(i, &header, &input[at + header.size..end], now)?;
            at = end;
            if self.conns[i].stage == Stage::Gone {
                return Ok(input.len());
            }
        }
        Ok(at)
    }

    /// The same for the frames of 75 and 76. The beginning of a message is taken as it comes, so that no byte is looked at
    /// twice.
    fn consume_hixie(&mut self, i: usize, input: &[u8], now: u64) -> Result<usize, String> {
        let mut at = 0;
        while at < input.len() && self.conns[i].stage != Stage::Gone {
            let inside = self.conns[i].rest.as_ref().is_some_and(|rest| rest.opcode.is_some());
            let (piece, took) = hixie::piece(&input[at..], inside).map_err(|e| format!("open: {e}"))?;
            at += took;
            match piece {
                Piece::Nothing => break,
                Piece::Close => self.closed(i, &[], now),
                Piece::Text(text, whole) => self.piece(i, Opcode::Text, false, text, whole, now)?,
            }
        }
        Ok(at)
    }

    /// The longest message that is taken.
    fn limit(&self) -> usize {
        self.spec.messages.max_size() + COURTESY
    }

    fn frame(&mut self, i: usize, header: &Header, payload: &[u8], now: u64) -> Result<(), String> {
        let open = self.conns[i].rest.as_ref().and_then(|rest| rest.opcode);
        match (header.opcode, open) {
            (Opcode::Ping, _) => {
                self.count(now).pings_answered += 1;
                self.control(i, Opcode::Pong, payload);
            }
            (Opcode::Pong, _) => self.pong(payload, now),
            (Opcode::Close, _) => self.closed(i, payload, now),
            (Opcode::Continuation, None) => return Err("open: continuation of nothing".into()),
            (Opcode::Continuation, Some(opcode)) => self.piece(i, opcode, false, payload, header.fin, now)?,
            (_, Some(_)) => return Err("open: message within a message".into()),
            (opcode, None) => self.piece(i, opcode, header.compressed, payload, header.fin, now)?,
        }
        Ok(())
    }

    /// The first of a message, or more of it; `last` ends it. Only the first knows whether it is `compressed`.
    fn piece(
        &mut self,
        i: usize,
        opcode: Opcode,
        compressed: bool,
        payload: &[u8],
        last: bool,
        now: u64,
    ) -> Result<(), String> {
        let limit = self.limit();
        match &mut self.conns[i].rest {
            Some(rest) if rest.opcode.is_some() => {
                rest.message.extend_from_slice(payload);
                if rest.message.len() > limit {
                    return Err("open: message longer than any sent".into());
                }
                if !last {
                    return Ok(());
                }
                let (message, compressed) = (std::mem::take(&mut rest.message), rest.compressed);
                rest.opcode = None;
                self.whole(i, opcode, compressed, &message, now)
            }
            _ if last => self.whole(i, opcode, compressed, payload, now),
            rest => {
                let rest = rest.get_or_insert_with(Box::<Rest>::default);
                (rest.opcode, rest.compressed) = (Some(opcode), compressed);
                rest.message.extend_from_slice(payload);
                Ok(())
            }
        }
    }

    /// A whole message, inflated if need be.
    fn whole(
        &mut self,
        i: usize,
        opcode: Opcode,
        compressed: bool,
        payload: &[u8],
        now: u64,
    ) -> Result<(), String> {
        let limit = self.limit();
        match self.deflate.as_mut().filter(|_| compressed) {
            None => self.message(i, opcode, payload, now),
            Some(deflate) => {
                // The buffer leaves the worker while its content is looked at.
                let mut inflated = std::mem::take(&mut self.inflated);
                let result = deflate.inflate(payload, &mut inflated, limit);
                if result.is_ok() {
                    self.message(i, opcode, &inflated, now);
                }
                self.inflated = inflated;
                result.map_err(|e| format!("open: {e}"))?;
            }
        }
        Ok(())
    }

    /// The server closes (RFC 6455 section 5.5.1): answer with its own code, then it ends the connection.
    fn closed(&mut self, i: usize, payload: &[u8], now: u64) {
        self.count(now).closes_received += 1;
        if self.conns[i].stage == Stage::Open {
            let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            let name = code.map_or("no code".to_owned(), |code| code.to_string());
            self.control(i, Opcode::Close, &payload[..payload.len().min(2)]);
            self.lose(i, format!("open: closed by the server ({name})"));
        } else {
            self.conns[i].drop_stream(false);
        }
    }

    /// Sends a control frame, behind whatever waits already.
    pub fn control(&mut self, i: usize, opcode: Opcode, payload: &[u8]) {
        if self.spec.extras.draft.is_hixie() {
            debug_assert_eq!(opcode, Opcode::Close, "75 and 76 have no other");
            self.put(i, &hixie::CLOSE);
            return;
        }
        let key = self.rng.u32(..).to_ne_bytes();
        let mut bytes = Vec::with_capacity(payload.len() + 6);
        frame::write(&mut bytes, opcode, key, payload);
        self.put(i, &bytes);
    }

    /// Writes `bytes` or keeps what the kernel will not take; true when all is written.
    pub fn put(&mut self, i: usize, bytes: &[u8]) -> bool {
        let conn = &mut self.conns[i];
        if let Some(outbox) = &mut conn.outbox {
            outbox.bytes.extend_from_slice(bytes);
            return false;
        }
        let Some(stream) = &mut conn.stream else { return false };
        let written = loop {
            match stream.write(bytes) {
                Ok(n) => break n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break 0,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.broken(i, &e);
                    return false;
                }
            }
        };
        if written == bytes.len() {
            return true;
        }
        conn.outbox = Some(Box::new(Outbox { bytes: bytes[written..].to_vec(), written: 0, message: 0 }));
        false
    }

    /// Writes what waits, as far as the kernel takes it; then the messages that waited behind.
    fn flush(&mut self, i: usize) {
        while let Some(mut outbox) = self.conns[i].outbox.take() {
            let Some(stream) = &mut self.conns[i].stream else { return };
            match stream.write(&outbox.bytes[outbox.written..]) {
                Ok(n) => outbox.written += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.conns[i].outbox = Some(outbox);
                    return;
                }
                Err(e) => return self.broken(i, &e),
            }
            if outbox.written < outbox.bytes.len() {
                self.conns[i].outbox = Some(outbox);
            } else if self.conns[i].unsent != NONE {
                self.waited(i, outbox.message);
            }
        }
    }
}

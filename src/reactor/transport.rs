//! A client's byte stream: its socket, whether that is ready, and what is kept on either side of it.
//!
//! The [`Connection`](super::connection::Connection) above has a conversation and knows no socket; this has a socket and knows no
//! protocol. What is read arrives in a buffer that all clients share, behind the carry; what is sent goes to the kernel at once,
//! and to the outbox as far as it is not taken. Another transport under the same session (records that are opened and sealed in
//! that shared buffer) has its place here and changes nothing above: TLS, where it is built in.

#[cfg(feature = "tls")]
mod secure;

use super::kernel::{InFlight, Readiness, Stream, Vitals};
use super::mark::Mark;
use super::memory::grow;
use super::moment::Moment;
use super::outbox::Outbox;
use super::stats::Stats;
use crate::proto::progress::HEADROOM;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes that one turn writes out of an outbox at most: as many as it may read.
const FLUSH_MAX: usize = 256 * 1024;

/// Pieces of an outbox that one call writes at most: a whole text of [`TEXT_MAX`](crate::proto::limits::TEXT_MAX).
const PIECES_MAX: usize = 18;
/// What is sent behind gathered text goes with it in one call if it is as short as this, and is not copied if it is longer.
const SMALL: usize = 4096;

/// The two directions of one connection.
///
/// Nothing is allocated for who is idle: fifteen thousand idle clients are fifteen thousand of these structs.
#[derive(Debug)]
pub struct Transport<S> {
    socket: S,
    kept: Option<Box<Kept>>,
    #[cfg(feature = "tls")]
    tls: Option<Box<crate::tls::connection::Tls>>,
    readable: bool,
    writable: bool,
    /// The peer's FIN was announced: a short read no longer means that nothing is left.
    read_closed: bool,
    /// Our FIN was sent.
    write_closed: bool,
    /// Stands in the run queue.
    pub queued: bool,
    /// It is not read until the others on its board have heard what was said.
    pub held: bool,
    /// Something was sent since it was last seen that everything had arrived.
    has_sent: bool,
    /// There may be much to read at the other end, so it has more time to show that somebody does.
    pub is_slow: bool,
}

/// What is kept of one connection. Lives only while there is any.
#[derive(Debug, Default)]
struct Kept {
    /// The beginning of something that has not all arrived.
    carry: Vec<u8>,
    /// The beginning of a TLS record.
    #[cfg(feature = "tls")]
    sealed: Vec<u8>,
    /// What the kernel would not take yet.
    outbox: Outbox,
    /// Text, as it will be sent, that waits for the rest of its frame.
    gathered: Outbox,
    /// Bytes that the session has allocated.
    session: usize,
    /// Bytes that [`Memory`](super::memory::Memory) knows of.
    counted: usize,
    /// It is counted as blocked.
    is_blocked: bool,
    /// When its patience was last seen to, where nothing could be said.
    looked: Option<Moment>,
    /// Since when what must be answered has not been: nothing was acknowledged beyond this.
    unanswered: Option<(Moment, u32)>,
    /// Since when the peer has come no further than this, memory being short.
    undrained: Option<(Moment, Mark)>,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Bytes.
    Bytes {
        /// Where in the buffer: behind [`HEADROOM`] and what is carried.
        start: usize,
        /// How many.
        count: usize,
    },
    /// Nothing is there.
    Nothing,
    /// The peer sends no more.
    End,
    /// Something that is no part of the conversation: TLS's own, or the beginning of a record.
    #[cfg(feature = "tls")]
    Part,
    /// TLS has no way on, and has said so to the peer.
    #[cfg(feature = "tls")]
    Fault,
}

/// What became of bytes that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// None are left.
    All,
    /// The kernel takes no more; it will say when it does.
    Blocked,
    /// It would take more, and others are to have their turn.
    More,
}

impl<S: Stream> Transport<S> {
    /// One whose socket was just accepted.
    pub fn new(socket: S) -> Transport<S> {
        Transport {
            socket,
            kept: None,
            #[cfg(feature = "tls")]
            tls: None,
            readable: false,
            writable: true,
            read_closed: false,
            write_closed: false,
            queued: false,
            held: false,
            has_sent: false,
            is_slow: false,
        }
    }

    /// Notes what an event says; acts on nothing.
    pub fn note(&mut self, event: &Readiness) {
        self.readable |= event.readable;
        self.writable |= event.writable;
        self.read_closed |= event.read_closed;
    }

    /// Has the next turn try both directions, whatever events said.
    pub fn expect_anything(&mut self) {
        (self.readable, self.writable) = (true, true);
    }

    /// Has the next turn try to read, whatever events said.
    pub fn expect_input(&mut self) {
        self.readable = true;
    }

    /// Whether the peer's FIN was announced.
    pub fn read_closed(&self) -> bool {
        self.read_closed
    }

    /// Has dropping it send a RST, and throw away what is still to be sent.
    pub fn reset(&self) -> io::Result<()> {
        self.socket.reset()
    }

    /// Whether the system at the other end has everything that was sent.
    pub fn has_arrived(&self) -> bool {
        let vitals = self.socket.vitals();
        self.outbox_is_empty() && vitals.unsent == 0 && vitals.in_flight == InFlight::Nothing
    }

    /// There may be something to read.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// A FIN was sent, or will be behind what waits.
    pub fn write_closed(&self) -> bool {
        self.write_closed
    }

    /// Whether anything is kept for it.
    pub fn keeps_something(&self) -> bool {
        self.kept.is_some()
    }

    /// Nothing waits to be written.
    pub fn outbox_is_empty(&self) -> bool {
        self.untaken() == 0
    }

    /// Bytes that wait for the kernel to take them.
    pub fn untaken(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.outbox.len())
    }

    /// Bytes that the carry holds, with text that was gathered: the pieces of something unfinished.
    pub fn unfinished(&self) -> usize {
        let Some(kept) = &self.kept else { return 0 };
        let bytes = kept.carry.len() + kept.gathered.len() + kept.session;
        #[cfg(feature = "tls")]
        let bytes = bytes + kept.sealed.len();
        bytes
    }

    /// Bytes of memory that are kept for it.
    pub fn allocated(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.counted)
    }

    /// The beginning of something that has not all arrived.
    pub fn carry(&self) -> &[u8] {
        self.kept.as_ref().map_or(&[], |kept| &kept.carry)
    }

    /// One read, of at most `most` bytes, to behind the place that the carry takes in `scratch`; with none, what is carried is
    /// all there is.
    #[inline]
    pub fn receive(&mut self, scratch: &mut [u8], most: usize, stats: &mut Stats) -> io::Result<Received> {
        let start = HEADROOM + self.carry().len();
        let end = start + most;
        if most == 0 {
            return Ok(Received::Bytes { start, count: 0 });
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.receive_sealed(scratch, most, stats);
        }
        match retry(|| self.socket.read(&mut scratch[start..end])) {
            Ok(0) => Ok(Received::End),
            Ok(count) => {
                stats.bytes_received += count as u64;
                // A short read has emptied the socket, unless a FIN follows that no further event will announce.
                self.readable = count == most || self.read_closed;
                Ok(Received::Bytes { start, count })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(Received::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// Moves the carry to its place in `scratch`, in front of what was read.
    pub fn take_carry(&mut self, scratch: &mut [u8]) {
        if let Some(kept) = &mut self.kept {
            scratch[HEADROOM..HEADROOM + kept.carry.len()].copy_from_slice(&kept.carry);
            kept.carry.clear();
        }
    }

    /// Puts `fresh` behind the carry.
    pub fn carry_on(&mut self, fresh: &[u8], stats: &mut Stats) {
        let carry = &mut self.kept.get_or_insert_default().carry;
        grow(carry, fresh.len());
        carry.extend_from_slice(fresh);
        self.recount(stats);
    }

    /// Puts text that waits for its header behind what has been gathered.
    pub fn gather(&mut self, text: &[u8], stats: &mut Stats) {
        if !text.is_empty() {
            let gathered = &mut self.kept.get_or_insert_default().gathered;
            if gathered.is_empty() {
                *gathered = Outbox::with_room(HEADROOM);
            }
            gathered.push(text);
            self.recount(stats);
        }
    }

    /// The text that was gathered, in pieces.
    pub fn gathered(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.iter().flat_map(|kept| kept.gathered.pieces())
    }

    /// Sends what was gathered, behind `header` and before `rest`.
    pub fn release(&mut self, header: &[u8], rest: &[u8], stats: &mut Stats) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() && self.kept.is_some() {
            self.release_sealed(header, stats)?;
            return self.send(rest, stats);
        }
        let Some(kept) = &mut self.kept else {
            self.send(header, stats)?;
            return self.send(rest, stats);
        };
        let (short, long) = if rest.len() <= SMALL { (rest, &[][..]) } else { (&[][..], rest) };
        let mut gathered = std::mem::take(&mut kept.gathered);
        gathered.push_front(header);
        gathered.push(short);
        self.has_sent = true;
        if kept.outbox.is_empty() {
            kept.outbox = gathered;
            self.write_out(usize::MAX, stats)?;
        } else {
            kept.outbox.append(gathered);
        }
        self.recount(stats);
        self.send(long, stats)
    }

    /// Drops what was gathered, and the first `count` bytes of the carry, or all: they will never be answered.
    pub fn forget(&mut self, count: usize, stats: &mut Stats) {
        if let Some(kept) = &mut self.kept {
            kept.gathered = Outbox::default();
            kept.carry.drain(..count.min(kept.carry.len()));
            self.recount(stats);
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self, stats: &mut Stats) -> io::Result<Flushed> {
        if self.outbox_is_empty() {
            return Ok(Flushed::All);
        }
        if self.writable {
            self.write_out(FLUSH_MAX, stats)?;
            self.recount(stats);
        }
        Ok(match (self.outbox_is_empty(), self.writable) {
            (true, _) => Flushed::All,
            (false, false) => Flushed::Blocked,
            (false, true) => Flushed::More,
        })
    }

    /// Writes pieces of the outbox until the kernel takes no more, or about `most` bytes went.
    fn write_out(&mut self, most: usize, stats: &mut Stats) -> io::Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let mut left = most;
        while !kept.outbox.is_empty() && left > 0 {
            let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
            let (mut count, mut offered) = (0, 0);
            for (slot, piece) in pieces.iter_mut().zip(kept.outbox.pieces()) {
                *slot = IoSlice::new(piece);
                (count, offered) = (count + 1, offered + piece.len());
                if offered >= left {
                    break;
                }
            }
            let taken = or_none(|| self.socket.write_pieces(&pieces[..count]))?;
            self.writable = taken == offered;
            kept.outbox.sent(taken);
            stats.bytes_sent += taken as u64;
            left = if self.writable { left.saturating_sub(taken) } else { 0 };
        }
        Ok(())
    }

    /// Writes `bytes` behind everything said so far; what the kernel does not take goes to the outbox.
    #[inline]
    pub fn send(&mut self, bytes: &[u8], stats: &mut Stats) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.send_sealed(bytes, stats);
        }
        self.send_raw(bytes, stats)
    }

    /// Writes bytes as they are on the wire.
    #[inline]
    fn send_raw(&mut self, bytes: &[u8], stats: &mut Stats) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut count = 0;
        // Behind an outbox nothing is tried, so `writable` stays: it may be an event that the next turn is to act on.
        if self.outbox_is_empty() {
            count = or_none(|| self.socket.write(bytes))?;
            stats.bytes_sent += count as u64;
            self.writable = count == bytes.len();
        }
        self.has_sent = true;
        if count < bytes.len() {
            self.kept.get_or_insert_default().outbox.push(&bytes[count..]);
            self.recount(stats);
        }
        Ok(())
    }

    /// Sends a FIN behind our last byte, once that is out.
    pub fn close_write(&mut self, stats: &mut Stats) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if !self.write_closed {
            self.say_end(stats)?;
        }
        #[cfg(not(feature = "tls"))]
        let _ = stats;
        if self.outbox_is_empty() && !self.write_closed {
            self.write_closed = true;
            self.socket.shutdown_write()?;
        }
        Ok(())
    }

    /// Lets go of buffers that hold nothing, and brings the totals up to date with what is held.
    ///
    /// Everything that changes a buffer ends with this.
    #[inline(never)]
    fn recount(&mut self, stats: &mut Stats) {
        #[cfg(feature = "tls")]
        let handshake = self.handshake_memory();
        #[cfg(feature = "tls")]
        if handshake > 0 {
            self.kept.get_or_insert_default();
        }
        let Some(kept) = &mut self.kept else { return };
        if kept.carry.is_empty() {
            kept.carry = Vec::new();
        }
        let is_blocked = !kept.outbox.is_empty();
        stats.blocked = stats.blocked + u64::from(is_blocked) - u64::from(kept.is_blocked);
        kept.is_blocked = is_blocked;
        let buffers =
            kept.carry.capacity() + kept.outbox.allocated() + kept.gathered.allocated() + kept.session;
        #[cfg(feature = "tls")]
        let buffers = buffers + kept.sealed.capacity() + handshake;
        let is_needed = buffers > 0 || kept.looked.is_some() || kept.unanswered.is_some();
        let now = if is_needed { size_of::<Kept>() + buffers } else { 0 };
        stats.memory.recount(&mut kept.counted, now);
        if now == 0 {
            self.kept = None;
        }
    }

    /// Keeps `rest`, which is to be handed in again with more behind it, and notes what the `session` has allocated; ends a turn.
    #[inline]
    pub fn keep(&mut self, rest: &[u8], session: usize, stats: &mut Stats) {
        if self.kept.is_some() || !rest.is_empty() || session > 0 {
            let kept = self.kept.get_or_insert_default();
            kept.session = session;
            grow(&mut kept.carry, rest.len());
            kept.carry.extend_from_slice(rest);
            self.recount(stats);
        }
    }

    /// Drops everything that is kept.
    pub fn drop_kept(&mut self, stats: &mut Stats) {
        #[cfg(feature = "tls")]
        {
            self.tls = None;
        }
        if let Some(kept) = &mut self.kept {
            **kept = Kept { counted: kept.counted, is_blocked: kept.is_blocked, ..Kept::default() };
            self.recount(stats);
        }
    }

    /// Whether it is to be seen that what was sent arrives.
    pub fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// When its patience was last seen to, where nothing could be said.
    pub fn looked(&self) -> Moment {
        self.kept.as_ref().and_then(|kept| kept.looked).unwrap_or_default()
    }

    /// Notes that its patience was seen to `now`; or, at [`Moment::NEVER`], that this no longer matters.
    pub fn look(&mut self, now: Moment, stats: &mut Stats) {
        if now < Moment::NEVER || self.kept.is_some() {
            self.kept.get_or_insert_default().looked = (now < Moment::NEVER).then_some(now);
            self.recount(stats);
        }
    }

    /// Whether what must be answered has not been for as long as `patience`.
    ///
    /// A closed window is no sign of that: while somebody there answers for it, it may be closed for ever.
    pub fn is_unreachable(
        &mut self,
        vitals: &Vitals,
        patience: Duration,
        now: Moment,
        stats: &mut Stats,
    ) -> bool {
        self.has_sent = vitals.in_flight != InFlight::Nothing || vitals.unsent > 0 || !self.outbox_is_empty();
        if vitals.in_flight == InFlight::Nothing {
            if let Some(kept) = &mut self.kept {
                kept.unanswered = None;
                self.recount(stats);
            }
            return false;
        }
        let kept = self.kept.get_or_insert_default();
        let (since, acked) = *kept.unanswered.get_or_insert((now, vitals.acked));
        // Not every segment with data of the peer's counts as an acknowledgement.
        let silence = vitals.heard.min(vitals.spoke);
        let is_over = acked == vitals.acked && silence >= patience && since + patience <= now;
        if acked != vitals.acked {
            kept.unanswered = Some((now, vitals.acked));
        }
        self.recount(stats);
        is_over
    }

    /// Whether the other end takes what waits for it: not when it has come no further for [`Mark::STEP`], of which the first
    /// question begins the count. Nor when nothing waits.
    pub fn is_draining(&mut self, now: Moment) -> bool {
        let Some(kept) = self.kept.as_mut().filter(|kept| !kept.outbox.is_empty()) else { return false };
        let vitals = self.socket.vitals();
        let here = (now, Mark::of(&vitals));
        let (since, mark) = *kept.undrained.get_or_insert(here);
        let has_moved = mark.is_passed(&vitals, 0);
        if has_moved {
            kept.undrained = Some(here);
        }
        has_moved || since + Mark::STEP > now
    }

    /// What the system knows of the other end.
    pub fn vitals(&self) -> Vitals {
        self.socket.vitals()
    }

    /// Who is at the other end, if the system still knows.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer()
    }

    /// Whether more could be written at once than was: no event will tell, so it is to have another turn.
    pub fn could_write(&self) -> bool {
        self.writable && !self.outbox_is_empty()
    }

    /// Panics unless what the fields promise each other holds.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        use crate::proto::limits::{CARRY_MAX, TEXT_MAX};
        let Some(kept) = &self.kept else { return };
        let Kept { carry, outbox, gathered, session, counted, is_blocked, looked, unanswered, .. } = &**kept;
        outbox.assert_invariants();
        gathered.assert_invariants();
        let buffers = carry.capacity() + outbox.allocated() + gathered.allocated() + session;
        #[cfg(feature = "tls")]
        let buffers = buffers + kept.sealed.capacity() + self.handshake_memory();
        assert!(buffers > 0 || looked.is_some() || unanswered.is_some(), "a box that holds nothing");
        assert_eq!(*counted, size_of::<Kept>() + buffers, "memory that is not accounted for");
        assert!(carry.len() <= CARRY_MAX, "carry of {}", carry.len());
        assert!(carry.capacity() <= CARRY_MAX + 4096, "carry of {}", carry.capacity());
        assert!(gathered.len() <= TEXT_MAX, "gathered {}", gathered.len());
        assert_eq!(*is_blocked, !outbox.is_empty());
    }
}

/// What the kernel takes in one call; 0 when it takes nothing now.
#[inline]
fn or_none(write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    match retry(write) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// A signal in the middle of a call is no reason to give up.
#[inline]
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

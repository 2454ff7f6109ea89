//! The same stream in TLS: records are opened in the shared buffer, where they were read, and sealed there, where the reply
//! stands, if nothing else is left in the buffer. Everything that waits for the kernel waits sealed.

use super::{Received, Transport, retry};
use crate::proto::progress::HEADROOM;
use crate::reactor::kernel::Stream;
use crate::reactor::memory::grow;
use crate::reactor::stats::Stats;
use crate::tls::connection::Tls;
use crate::tls::record::HEADER;
use std::io::{self, ErrorKind};
use std::ops::Range;

impl<S: Stream> Transport<S> {
    /// From now on everything is TLS; `read` was read already, and belongs to it.
    pub fn begin_tls(&mut self, tls: Tls, read: &[u8], stats: &mut Stats) {
        self.tls = Some(Box::new(tls));
        if !read.is_empty() {
            self.kept.get_or_insert_default().sealed.extend_from_slice(read);
            self.recount(stats);
            // No event will tell of what was read.
            self.readable = true;
        }
    }

    /// What its TLS is about, where there is any.
    pub fn tls(&mut self) -> Option<&mut Tls> {
        self.tls.as_deref_mut()
    }

    /// How much is to come of a record, or at least of its header, whose beginning is kept; `None` where none is.
    pub fn rest_of_record(&self) -> Option<usize> {
        let sealed = &self.kept.as_ref()?.sealed;
        let size =
            sealed.get(3..HEADER).map_or(0, |size| usize::from(u16::from_be_bytes([size[0], size[1]])));
        (!sealed.is_empty()).then(|| (HEADER + size).saturating_sub(sealed.len()).max(1))
    }

    /// Bytes on the wire beyond the content of one record.
    pub fn overhead(&self) -> u32 {
        self.tls.as_ref().map_or(0, |tls| tls.overhead())
    }

    /// One read, of which the whole records are opened, behind the place that the carry takes in `scratch`; without a carry
    /// the content of the first record stays where it stands.
    pub(super) fn receive_sealed(
        &mut self,
        scratch: &mut [u8],
        most: usize,
        stats: &mut Stats,
    ) -> io::Result<Received> {
        if self.tls.as_ref().is_some_and(|tls| tls.has_peer_left()) {
            return Ok(Received::End);
        }
        let base = HEADROOM + self.carry().len();
        let mut start = base;
        if let Some(kept) = &mut self.kept {
            start += kept.sealed.len();
            scratch[base..start].copy_from_slice(&kept.sealed);
            kept.sealed = Vec::new();
        }
        let has_waited = start > base;
        let most = most.min(scratch.len() - start);
        let count = match retry(|| self.socket.read(&mut scratch[start..start + most])) {
            // Without close_notify, too, this is an end: a WebSocket says by its Close that nothing was cut off.
            Ok(0) => return Ok(Received::End),
            Ok(count) => {
                stats.bytes_received += count as u64;
                self.readable = count == most || self.read_closed;
                count
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                0
            }
            Err(error) => return Err(error),
        };
        if count == 0 && !has_waited {
            return Ok(Received::Nothing);
        }
        let received = self.open(scratch, base, start + count, stats)?;
        // What only waits on is no sign of life.
        Ok(if count == 0 && received == Received::Part { Received::Nothing } else { received })
    }

    /// Bytes that an unfinished handshake has allocated.
    pub(super) fn handshake_memory(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.handshake_memory())
    }

    /// Opens the records in `scratch[base..end]`.
    fn open(
        &mut self,
        scratch: &mut [u8],
        base: usize,
        end: usize,
        stats: &mut Stats,
    ) -> io::Result<Received> {
        let Some(tls) = &mut self.tls else { return Ok(Received::Nothing) };
        let carried = if base > HEADROOM { HEADROOM..base } else { 0..0 };
        let mut out = Vec::new();
        let opened = tls.open(scratch, carried.clone(), base..end, &mut out);
        let fault = opened.fault.is_some();
        tls.set_fault(opened.fault);
        if !opened.rest.is_empty() {
            let sealed = &mut self.kept.get_or_insert_default().sealed;
            grow(sealed, opened.rest.len());
            sealed.extend_from_slice(&scratch[opened.rest]);
        }
        self.recount(stats);
        if !out.is_empty() {
            self.send_raw(&out, stats)?;
        }
        if fault {
            return Ok(Received::Fault);
        }
        let start = if carried.is_empty() { opened.plain.start } else { base };
        let count = opened.plain.end.saturating_sub(start);
        let has_left = self.tls.as_ref().is_some_and(|tls| tls.has_peer_left());
        Ok(match (count > 0, has_left) {
            (true, has_left) => {
                // What came before its end is heard first.
                self.readable |= has_left;
                Received::Bytes { start, count }
            }
            (false, true) => Received::End,
            (false, false) => Received::Part,
        })
    }

    /// Whether a peer that sends no more still hears: not where it has said so in TLS 1.2, which knows no half of an end (RFC 5246
    /// section 7.2.1).
    pub fn can_hear(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.has_peer_left() || tls.has_half_ends())
    }

    /// Says back to a peer that it has said that it sends no more (RFC 8446 section 6.1), whether or not anybody hears it.
    pub fn answer_end(&mut self, stats: &mut Stats) {
        if !self.write_closed && self.tls.as_ref().is_some_and(|tls| tls.has_peer_left()) {
            let _ = self.say_end(stats);
        }
    }

    /// Sends `scratch[reply]`; sealed where it stands if `is_alone`, nothing around it being needed any more.
    pub fn send_in_place(
        &mut self,
        scratch: &mut [u8],
        reply: Range<usize>,
        is_alone: bool,
        stats: &mut Stats,
    ) -> io::Result<()> {
        if reply.is_empty() {
            return Ok(());
        }
        match self.tls.as_mut().filter(|_| is_alone).and_then(|tls| tls.seal(scratch, reply.clone())) {
            Some(record) => self.send_raw(&scratch[record], stats),
            None => self.send(&scratch[reply], stats),
        }
    }

    /// Sends `bytes` in records of their own.
    #[inline(never)]
    pub(super) fn send_sealed(&mut self, bytes: &[u8], stats: &mut Stats) -> io::Result<()> {
        let mut out = Vec::new();
        let sealed = self.tls.as_mut().map_or(Ok(()), |tls| tls.seal_into(bytes, &mut out));
        self.send_raw(&out, stats)?;
        sealed.map_err(io::Error::other)
    }

    /// Sends what was gathered, header and all, in records.
    pub(super) fn release_sealed(&mut self, header: &[u8], stats: &mut Stats) -> io::Result<()> {
        let gathered = self.kept.as_mut().map(|kept| std::mem::take(&mut kept.gathered));
        let (mut out, mut sealed) = (Vec::new(), Ok(()));
        if let (Some(tls), Some(mut gathered)) = (&mut self.tls, gathered) {
            gathered.push_front(header);
            sealed = gathered.pieces().try_for_each(|piece| tls.seal_into(piece, &mut out));
        }
        self.send_raw(&out, stats)?;
        self.recount(stats);
        sealed.map_err(io::Error::other)
    }

    /// Says that nothing follows, once.
    pub(super) fn say_end(&mut self, stats: &mut Stats) -> io::Result<()> {
        let mut out = Vec::new();
        if let Some(tls) = &mut self.tls {
            tls.close(&mut out);
        }
        self.send_raw(&out, stats)
    }
}

//! Which message a reply answers, and whether it answers it well.

use crate::engine::in_flight::{Entry, Exchange, InFlight};
use crate::engine::payload::{MessageId, Payloads};
use crate::protocol::frame::Opcode;

/// How far a reply without a stamp is looked for among the messages that are out.
const REACH: usize = 64;

/// What a reply turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The answer to a message that was out.
    Answer {
        entry: Entry,
        /// Its opcode, length or content is not what was sent.
        corrupt: bool,
        /// A later one came before it.
        reordered: bool,
    },
    /// The answer to a message that had one already.
    Duplicate,
    /// The answer to nothing that was sent on this connection.
    Stray,
}

/// Finds the message that `payload` answers and takes it off the connection's list.
///
/// A stamp names it. Without one it is the oldest whose content fits; when none fits, the oldest, corrupted.
pub fn identify(
    payloads: &Payloads,
    in_flight: &mut InFlight,
    exchange: &mut Exchange,
    number: u32,
    opcode: Opcode,
    payload: &[u8],
) -> Reply {
    let id = |index| MessageId { conn: number, index };
    let is = |index, size| size == payload.len() && payloads.has_body(payload, id(index));
    let fits = |e: &Entry| is(e.index, e.size as usize);
    // Without a stamp, only the last reply is known again.
    let again = |seen: u32| seen.checked_sub(1).is_some_and(|index| is(index, payloads.size(id(index))));
    let found = if payloads.is_stamped(payload.len()) {
        match payloads.read_stamp(payload) {
            Some(stamp) if stamp.id == id(stamp.id.index) => {
                let index = stamp.id.index;
                match in_flight.take_written(exchange, usize::MAX, |e| e.index == index) {
                    Some(entry) => Some(entry),
                    None if index < exchange.next_index => return Reply::Duplicate,
                    None => return Reply::Stray,
                }
            }
            Some(_) => return Reply::Stray,
            None => None,
        }
    } else {
        match in_flight.take_written(exchange, REACH, fits) {
            Some(entry) => Some(entry),
            None if again(exchange.seen) => return Reply::Duplicate,
            None => None,
        }
    };
    let (entry, known) = match found {
        Some(entry) => (entry, true),
        None => match in_flight.take_written(exchange, 1, |_| true) {
            Some(entry) => (entry, false),
            None => return Reply::Stray,
        },
    };
    let reordered = known && entry.index < exchange.seen;
    exchange.seen = exchange.seen.max(entry.index + 1);
    Reply::Answer { entry, corrupt: !known || opcode != payloads.opcode() || !fits(&entry), reordered }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::in_flight::NONE;
    use crate::engine::size::Sizes;
    use crate::host::clock::Moment;

    struct Bench {
        messages: Payloads,
        in_flight: InFlight,
        exchange: Exchange,
    }

    impl Bench {
        /// A connection with `n` messages of `size` bytes out.
        fn new(opcode: Opcode, size: usize, n: u32) -> Bench {
            let messages = Payloads::random(opcode, Sizes::Fixed(size), true, 3);
            let mut bench = Bench { messages, in_flight: InFlight::default(), exchange: Exchange::default() };
            for index in 0..n {
                let entry = Entry { due: Moment(9), sent: Moment(9), index, size: size as u32, next: NONE };
                bench.in_flight.push(&mut bench.exchange.out, entry);
            }
            bench.exchange.next_index = n;
            bench
        }

        fn payload(&self, index: u32) -> Vec<u8> {
            let mut out = Vec::new();
            let id = MessageId { conn: 5, index };
            self.messages.write(&mut out, id, self.messages.size(id), Moment(9));
            out
        }

        /// The index found and the faults seen.
        fn reply(&mut self, payload: &[u8]) -> String {
            let opcode = self.messages.opcode();
            match identify(&self.messages, &mut self.in_flight, &mut self.exchange, 5, opcode, payload) {
                Reply::Answer { entry, corrupt, reordered } => {
                    format!(
                        "{}{}{}",
                        entry.index,
                        ["", " corrupt"][corrupt as usize],
                        ["", " late"][reordered as usize]
                    )
                }
                Reply::Duplicate => "duplicate".into(),
                Reply::Stray => "stray".into(),
            }
        }
    }

    #[test]
    fn every_fault_is_told_from_the_others() {
        // Text and binary with a stamp, and too short for one.
        for (opcode, size) in
            [(Opcode::Text, 64), (Opcode::Binary, 16), (Opcode::Binary, 12), (Opcode::Text, 12)]
        {
            let mut bench = Bench::new(opcode, size, 8);
            let payloads: Vec<_> = (0..8).map(|i| bench.payload(i)).collect();
            assert_eq!(bench.reply(&payloads[0]), "0");
            assert_eq!(bench.reply(&payloads[0]), "duplicate");
            // 1 is dropped for now; 2 and 3 are swapped.
            assert_eq!(bench.reply(&payloads[3]), "3");
            assert_eq!(bench.reply(&payloads[2]), "2 late");
            assert_eq!(bench.reply(&payloads[1]), "1 late");
            // A byte is wrong, at the front and at the end.
            let mut bad = payloads[4].clone();
            bad[0] ^= 1;
            assert_eq!(bench.reply(&bad), "4 corrupt");
            let mut bad = payloads[5].clone();
            bad[size - 1] ^= 1;
            assert_eq!(bench.reply(&bad), "5 corrupt");
            // One byte is missing.
            assert_eq!(bench.reply(&payloads[6][..size - 1]), "6 corrupt");
            assert_eq!(bench.reply(&payloads[7]), "7");
            assert_eq!(bench.exchange.out.len, 0);
            assert_eq!(bench.reply(&bench.payload(9)), "stray");
        }
    }

    #[test]
    fn another_connections_reply_and_another_opcode_are_seen() {
        let mut bench = Bench::new(Opcode::Binary, 32, 2);
        let mut other = Vec::new();
        bench.messages.write(&mut other, MessageId { conn: 6, index: 0 }, 32, Moment(9));
        assert_eq!(bench.reply(&other), "stray");
        let payload = bench.payload(0);
        let reply =
            identify(&bench.messages, &mut bench.in_flight, &mut bench.exchange, 5, Opcode::Text, &payload);
        assert!(matches!(reply, Reply::Answer { corrupt: true, .. }), "{reply:?}");
    }
}

//! Which message a reply answers, and whether it answers it well.

use crate::engine::in_flight::{Entry, Exchange, InFlight};
use crate::engine::payload::{MessageId, Payloads};
use crate::protocol::frame::Opcode;

/// How far a reply without a stamp is looked for among the messages that are out.
const REACH: usize = 64;

/// What a message that came turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The answer to a message that was out.
    Answer {
        /// That message.
        entry: Entry,
        /// Its opcode, length or content is not what was sent.
        corrupt: bool,
        /// A later one came before it.
        reordered: bool,
    },
    /// The answer to a message, of this index, that had one already.
    Duplicate(u32),
    /// Ours, and not sent on this connection, or not yet.
    Stray,
    /// None of ours: it answers nothing.
    Unsolicited {
        /// A message of this length and opcode was out.
        alike: bool,
    },
}

/// Takes the message of the number that a reply names; one that names none, or none that was sent, is no reply.
pub fn numbered(in_flight: &mut InFlight, exchange: &mut Exchange, index: Option<u32>) -> Reply {
    let sent = index.filter(|index| *index < exchange.next_index);
    let Some(index) = sent else { return Reply::Unsolicited { alike: false } };
    match in_flight.take_index(exchange, index) {
        Some(entry) => {
            let reordered = index < exchange.seen;
            exchange.seen = exchange.seen.max(index + 1);
            Reply::Answer { entry, corrupt: false, reordered }
        }
        None => Reply::Duplicate(index),
    }
}

/// Takes the oldest message of a connection whose replies nothing tells apart.
pub fn next(in_flight: &mut InFlight, exchange: &mut Exchange) -> Reply {
    match in_flight.take_written(exchange, 1, |_| true) {
        Some(entry) => {
            exchange.seen = exchange.seen.max(entry.index + 1);
            Reply::Answer { entry, corrupt: false, reordered: false }
        }
        None => Reply::Unsolicited { alike: false },
    }
}

/// Finds the message that `payload` answers and takes it off the connection's list.
///
/// A stamp names it. Without one it is the oldest whose content fits, or resembles it: what was changed on its way is
/// an answer still, and what has nothing in common with anything that was sent is none. `check` whether it is as it was.
pub fn identify(
    payloads: &Payloads,
    in_flight: &mut InFlight,
    exchange: &mut Exchange,
    number: u32,
    opcode: Opcode,
    payload: &[u8],
    check: bool,
) -> Reply {
    let id = |index| MessageId { conn: number, index };
    let fits = |e: &Entry| e.size as usize == payload.len() && payloads.has_body(payload, id(e.index));
    let stamp = if payloads.is_stamped(payload.len()) { payloads.read_stamp(payload) } else { None };
    let (entry, known) = if let Some(stamp) = stamp {
        let index = stamp.id.index;
        if stamp.id != id(index) {
            return Reply::Stray;
        }
        match in_flight.take_index(exchange, index) {
            Some(entry) => (entry, true),
            None if index < exchange.next_index => return Reply::Duplicate(index),
            None => return Reply::Stray,
        }
    } else {
        let tells = payloads.body_tells(payload.len());
        let stampless = |e: &Entry| !payloads.is_stamped(e.size as usize);
        let resembles = |e: &Entry| payloads.resembles(payload, id(e.index), e.size as usize, e.due);
        if let Some(entry) = in_flight.take_written(exchange, REACH, |e| stampless(e) && fits(e)) {
            (entry, true)
        } else if exchange.seen > 0
            && !payloads.is_stamped(payload.len())
            && payloads.size(id(exchange.seen - 1)) == payload.len()
            && payloads.has_body(payload, id(exchange.seen - 1))
        {
            return Reply::Duplicate(exchange.seen - 1);
        } else if let Some(entry) =
            in_flight.take_written(exchange, REACH, |e| tells && fits(e) || resembles(e))
        {
            (entry, false)
        } else {
            let oldest = in_flight.oldest_written(exchange);
            let alike =
                oldest.is_some_and(|e| e.size as usize == payload.len()) && opcode == payloads.opcode();
            return Reply::Unsolicited { alike };
        }
    };
    let reordered = known && entry.index < exchange.seen;
    exchange.seen = exchange.seen.max(entry.index + 1);
    let corrupt = check && (!known || opcode != payloads.opcode() || !fits(&entry));
    Reply::Answer { entry, corrupt, reordered }
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
                let entry =
                    Entry { due: Moment(9), sent: Moment(9), slip: 0, index, size: size as u32, next: NONE };
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
            match identify(&self.messages, &mut self.in_flight, &mut self.exchange, 5, opcode, payload, true)
            {
                Reply::Answer { entry, corrupt, reordered } => {
                    format!(
                        "{}{}{}",
                        entry.index,
                        ["", " corrupt"][corrupt as usize],
                        ["", " late"][reordered as usize]
                    )
                }
                Reply::Duplicate(_) => "duplicate".into(),
                Reply::Unsolicited { .. } => "unsolicited".into(),
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
            let stamped = bench.messages.is_stamped(size);
            assert_eq!(bench.reply(&bench.payload(9)), if stamped { "stray" } else { "unsolicited" });
        }
    }

    /// Nobody asked for it, so it ends nobody's wait.
    #[test]
    fn a_push_is_no_reply() {
        for (opcode, size) in
            [(Opcode::Text, 64), (Opcode::Binary, 16), (Opcode::Binary, 12), (Opcode::Text, 12)]
        {
            let mut bench = Bench::new(opcode, size, 3);
            for push in [&b"tick"[..], b"{\"type\":\"welcome\"}", &vec![b'#'; size]] {
                assert_eq!(bench.reply(push), "unsolicited", "{opcode:?} {size} {push:?}");
            }
            assert_eq!(bench.exchange.out.len, 3);
            assert_eq!(bench.reply(&bench.payload(0)), "0");
        }
    }

    /// The stamp is gone, but the rest says which it was.
    #[test]
    fn a_reply_without_its_stamp_is_the_message_whose_body_it_has() {
        let mut bench = Bench::new(Opcode::Text, 200, 4);
        let mut bad = bench.payload(2);
        bad[..32].fill(b'z');
        assert_eq!(bench.reply(&bad), "2 corrupt");
    }

    #[test]
    fn another_connections_reply_and_another_opcode_are_seen() {
        let mut bench = Bench::new(Opcode::Binary, 32, 2);
        let mut other = Vec::new();
        bench.messages.write(&mut other, MessageId { conn: 6, index: 0 }, 32, Moment(9));
        assert_eq!(bench.reply(&other), "stray");
        let payload = bench.payload(0);
        let reply = identify(
            &bench.messages,
            &mut bench.in_flight,
            &mut bench.exchange,
            5,
            Opcode::Text,
            &payload,
            true,
        );
        assert!(matches!(reply, Reply::Answer { corrupt: true, .. }), "{reply:?}");
    }
}

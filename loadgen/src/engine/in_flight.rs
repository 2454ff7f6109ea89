//! Payloads that are out.
//!
//! A thread keeps them all in one table, a connection only the ends of its list: an idle connection costs nothing, and
//! memory goes with the messages in flight rather than with the connections.

use std::collections::HashMap;

use crate::host::clock::Moment;

/// The end of a list.
pub const NONE: u32 = u32::MAX;

/// How far the finger stays behind: replies out of order by no more than this cost no walk from the beginning.
const BEHIND: usize = 8;

/// One message, from the time it is due until its reply is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it was due.
    pub due: Moment,
    /// When it was written; for one that waits for the socket, when it was first tried.
    pub sent: Moment,
    /// How late it was tried first, microseconds.
    pub slip: u32,
    /// Which message of its connection.
    pub index: u32,
    /// Payload bytes.
    pub size: u32,
    /// The next on the same connection.
    pub next: u32,
}

const _: () = assert!(size_of::<Entry>() == 32, "the README says so");

/// One connection's messages, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The oldest entry; `NONE` when empty.
    pub head: u32,
    tail: u32,
    /// How many entries.
    pub len: u32,
}

impl Default for List {
    fn default() -> List {
        List { head: NONE, tail: NONE, len: 0 }
    }
}

/// What one connection knows of its messages.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Those without a reply.
    pub out: List,
    /// The oldest of them that is not wholly written; its frame is in the outbox.
    pub unsent: u32,
    /// Of the next message.
    pub next_index: u32,
    /// One more than the highest index that came back.
    pub seen: u32,
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange { out: List::default(), unsent: NONE, next_index: 0, seen: 0 }
    }
}

/// The table.
#[derive(Default)]
pub struct InFlight {
    entries: Vec<Entry>,
    /// Vacant entries, through their `next`, shifted by one so that zero is the end.
    vacant: u32,
    /// Of a list that begins with messages that were probably lost, by its first: one that waits some way before the last
    /// that was answered. From there the next is looked for, so that those before are not gone through for every reply.
    fingers: HashMap<u32, u32>,
    /// Messages gone over while looking for others.
    #[cfg(test)]
    steps: u64,
}

impl InFlight {
    /// Adds to the end of `list` and returns where.
    pub fn push(&mut self, list: &mut List, entry: Entry) -> u32 {
        let entry = Entry { next: NONE, ..entry };
        let id = match self.vacant.checked_sub(1) {
            Some(id) => {
                self.vacant = self.entries[id as usize].next;
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        match list.tail {
            NONE => list.head = id,
            tail => self.entries[tail as usize].next = id,
        }
        list.tail = id;
        list.len += 1;
        id
    }

    /// Message `id`.
    pub fn get(&self, id: u32) -> &Entry {
        &self.entries[id as usize]
    }

    /// Message `id`, to be changed.
    pub fn get_mut(&mut self, id: u32) -> &mut Entry {
        &mut self.entries[id as usize]
    }

    /// The oldest message of `exchange`, if it is written.
    pub fn oldest_written(&self, exchange: &Exchange) -> Option<&Entry> {
        let head = exchange.out.head;
        if head == exchange.unsent { None } else { self.entries.get(head as usize) }
    }

    /// The oldest message of `list`.
    fn oldest(&self, list: &List) -> Option<&Entry> {
        self.entries.get(list.head as usize)
    }

    /// The newest message of `list`.
    pub fn newest(&self, list: &List) -> Option<&Entry> {
        self.entries.get(list.tail as usize)
    }

    /// Takes the oldest entry of `list`.
    pub fn take_oldest(&mut self, list: &mut List) -> Option<Entry> {
        self.take(list, 1, NONE, |_| true)
    }

    /// Takes the first written message of `exchange`, within its first `reach`, of which `wanted` is true: what was not
    /// written cannot have been answered.
    pub fn take_written(
        &mut self,
        exchange: &mut Exchange,
        reach: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        self.take(&mut exchange.out, reach, exchange.unsent, wanted)
    }

    /// Takes the first entry of `list`, within its first `reach` and before `end`, of which `wanted` is true.
    fn take(
        &mut self,
        list: &mut List,
        reach: usize,
        end: u32,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        let (mut before, mut id) = (NONE, list.head);
        for _ in 0..reach {
            if id == NONE || id == end {
                return None;
            }
            let entry = self.entries[id as usize];
            if wanted(&entry) {
                return Some(self.unlink(list, before, id));
            }
            (before, id) = (id, entry.next);
        }
        None
    }

    /// Takes the message of this index, if it is out and written.
    pub fn take_index(&mut self, exchange: &mut Exchange, index: u32) -> Option<Entry> {
        let (before, id) = self.seek(exchange, index)?;
        Some(self.unlink(&mut exchange.out, before, id))
    }

    /// The message of this index, if it is out and written.
    pub fn find_index(&mut self, exchange: &Exchange, index: u32) -> Option<Entry> {
        let (_, id) = self.seek(exchange, index)?;
        Some(self.entries[id as usize])
    }

    /// The message of this index, and what it stands behind. Messages stand in the order of their indices, so what is not
    /// there is soon known not to be.
    fn seek(&mut self, exchange: &Exchange, index: u32) -> Option<(u32, u32)> {
        let list = &exchange.out;
        if self.oldest(list).is_none_or(|oldest| oldest.index > index) {
            return None;
        }
        let finger =
            self.fingers.get(&list.head).filter(|finger| self.entries[**finger as usize].index < index);
        let (mut before, mut id) = match finger {
            Some(finger) => (*finger, self.entries[*finger as usize].next),
            None => (NONE, list.head),
        };
        // What the finger is to point at, and how far behind that is.
        let (mut finger, mut behind) = (before, 0);
        while id != NONE && id != exchange.unsent {
            let entry = self.entries[id as usize];
            if entry.index >= index {
                if entry.index > index {
                    return None;
                }
                if finger != NONE {
                    self.fingers.insert(list.head, finger);
                }
                return Some((before, id));
            }
            if behind < BEHIND {
                behind += 1;
            } else {
                finger = if finger == NONE { list.head } else { self.entries[finger as usize].next };
            }
            (before, id) = (id, entry.next);
            #[cfg(test)]
            {
                self.steps += 1;
            }
        }
        None
    }

    /// Points no finger at message `id`, which goes out of the list that begins with `head`, but at the one `before` it.
    fn withdraw(&mut self, head: u32, before: u32, id: u32) {
        let Some(finger) = self.fingers.get_mut(&head) else { return };
        if id == head {
            let finger = self.fingers.remove(&head);
            let next = self.entries[head as usize].next;
            // The list begins with the next one now.
            if let Some(finger) = finger.filter(|finger| *finger != head && next != NONE) {
                self.fingers.insert(next, finger);
            }
        } else if *finger == id {
            *finger = before;
        }
    }

    /// Takes message `id`, which stands behind `before`, out of `list`.
    fn unlink(&mut self, list: &mut List, before: u32, id: u32) -> Entry {
        let entry = self.entries[id as usize];
        if !self.fingers.is_empty() {
            self.withdraw(list.head, before, id);
        }
        match before {
            NONE => list.head = entry.next,
            before => self.entries[before as usize].next = entry.next,
        }
        if list.tail == id {
            list.tail = before;
        }
        list.len -= 1;
        self.entries[id as usize].next = self.vacant;
        self.vacant = id + 1;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u32) -> Entry {
        Entry { due: Moment(0), sent: Moment(0), slip: 0, index, size: 0, next: NONE }
    }

    #[test]
    fn lists_share_a_table_and_give_their_room_back() {
        let mut table = InFlight::default();
        let (mut a, mut b) = (List::default(), List::default());
        for round in 0..1000 {
            for i in 0..4 {
                table.push(&mut a, entry(round * 4 + i));
                table.push(&mut b, entry(i));
            }
            // Out of the middle, off the end, then the rest in order.
            assert!(table.take(&mut a, 9, NONE, |e| e.index == round * 4 + 1).is_some());
            assert!(table.take(&mut a, 9, NONE, |e| e.index == round * 4 + 3).is_some());
            assert!(table.take(&mut a, 9, NONE, |e| e.index == 999_999).is_none());
            assert_eq!(table.take_oldest(&mut a).unwrap().index, round * 4);
            table.push(&mut a, entry(7));
            assert_eq!(table.take_oldest(&mut a).unwrap().index, round * 4 + 2);
            assert_eq!(table.take_oldest(&mut a).unwrap().index, 7);
            assert!(table.take_oldest(&mut a).is_none());
            for i in 0..4 {
                assert_eq!(table.take_oldest(&mut b).unwrap().index, i);
            }
            assert_eq!((a.len, b.len), (0, 0));
        }
        assert!(table.entries.len() <= 8, "{}", table.entries.len());
    }

    #[test]
    fn what_was_not_written_is_not_answered() {
        let mut table = InFlight::default();
        let mut exchange = Exchange::default();
        let ids = [0, 1, 2].map(|index| table.push(&mut exchange.out, entry(index)));
        exchange.unsent = ids[1];
        assert!(table.take_written(&mut exchange, 9, |e| e.index == 2).is_none());
        assert_eq!(table.take_written(&mut exchange, 9, |_| true).map(|e| e.index), Some(0));
        assert!(table.take_written(&mut exchange, 9, |_| true).is_none());
        assert_eq!(exchange.out.len, 2);
    }

    #[test]
    fn lost_messages_cost_nothing_more() {
        let mut table = InFlight::default();
        let mut exchange = Exchange::default();
        const ALL: u32 = 100_000;
        // A tenth is lost, pairs are swapped, and each is asked for once more than it comes.
        for index in 0..ALL {
            table.push(&mut exchange.out, entry(index));
            let reply = if index % 2 == 0 { index + 1 } else { index - 1 };
            if index % 2 == 1 {
                for reply in [reply + 1, reply].into_iter().filter(|reply| reply % 10 != 3) {
                    assert_eq!(table.take_index(&mut exchange, reply).map(|e| e.index), Some(reply));
                    assert!(table.take_index(&mut exchange, reply).is_none(), "it is gone");
                }
            }
        }
        assert_eq!(exchange.out.len, ALL / 10);
        assert!(table.steps <= u64::from(ALL) * 2 * (BEHIND as u64 + 3), "{} steps", table.steps);
        // All that were lost come after all.
        for reply in (3..ALL).step_by(10) {
            assert_eq!(table.take_index(&mut exchange, reply).map(|e| e.index), Some(reply));
        }
        assert_eq!((exchange.out.len, exchange.out.head, exchange.out.tail), (0, NONE, NONE));
    }

    /// Whatever is taken in whatever way and order, the list holds the rest in order.
    #[test]
    fn the_list_is_what_a_list_would_be() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut table = InFlight::default();
        let mut pairs: Vec<(Exchange, Vec<u32>, u32)> = vec![Default::default(); 3];
        for _ in 0..50_000 {
            let (exchange, model, next) = &mut pairs[rng.usize(..3)];
            match rng.u32(..10) {
                0..5 => {
                    table.push(&mut exchange.out, entry(*next));
                    model.push(*next);
                    *next += 1;
                }
                5 => {
                    let first = (!model.is_empty()).then(|| model.remove(0));
                    assert_eq!(table.take_oldest(&mut exchange.out).map(|e| e.index), first);
                }
                6 => {
                    let third = model.iter().position(|index| index % 3 == 0).filter(|at| *at < 9);
                    let third = third.map(|at| model.remove(at));
                    assert_eq!(
                        table.take(&mut exchange.out, 9, NONE, |e| e.index % 3 == 0).map(|e| e.index),
                        third
                    );
                }
                _ => {
                    let index = rng.u32(..*next + 2);
                    let at = model.iter().position(|other| *other == index);
                    let expected = at.map(|at| model.remove(at));
                    assert_eq!(table.take_index(exchange, index).map(|e| e.index), expected);
                }
            }
            let oldest = table.oldest(&exchange.out).map(|e| e.index);
            assert_eq!((oldest, exchange.out.len as usize), (model.first().copied(), model.len()));
        }
    }
}

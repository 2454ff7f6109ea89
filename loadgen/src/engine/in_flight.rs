//! Payloads that are out.
//!
//! A thread keeps them all in one table, a connection only the ends of its list: an idle connection costs nothing, and
//! memory goes with the messages in flight rather than with the connections.

use crate::host::clock::Moment;

/// The end of a list.
pub const NONE: u32 = u32::MAX;

/// One message, from the time it is due until its reply is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it was due.
    pub due: Moment,
    /// When it was written; for one that waits for the socket, when it was first tried.
    pub sent: Moment,
    /// How late it was tried first, microseconds.
    pub slip: u32,
    pub index: u32,
    pub size: u32,
    /// The next on the same connection.
    pub next: u32,
}

const _: () = assert!(size_of::<Entry>() == 32, "the README says so");

/// One connection's messages, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct List {
    pub head: u32,
    tail: u32,
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
                return Some(entry);
            }
            (before, id) = (id, entry.next);
        }
        None
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
}

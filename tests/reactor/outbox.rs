//! What is put behind bytes that wait must not make anyone forget that the peer takes them again.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use support::wire::{ANSWER, REQUEST, masked};
use support::{allocator, config};
use wsecho::reactor::connection::Connection;
use wsecho::reactor::kernel::{InFlight, Readiness, Stream, Vitals};
use wsecho::reactor::listener::Role;
use wsecho::reactor::moment::Moment;
use wsecho::reactor::token::{ConnId, Source};
use wsecho::reactor::turn::{Context, Shared};

const ID: ConnId = ConnId { key: 0, serial: 1 };
const NOW: Moment = Moment(0);

/// A socket on which everything the client says has arrived, and that takes `room` more bytes.
#[derive(Debug)]
struct Socket {
    said: Vec<u8>,
    taken: Rc<RefCell<Taken>>,
}

#[derive(Debug)]
struct Taken {
    bytes: Vec<u8>,
    room: usize,
}

/// Between an event and the turn that it brings, a delivery from the board and a Close are put behind the rest of a 101.
#[test]
fn an_event_is_not_forgotten_for_what_is_said_before_its_turn() {
    let config = config::config();
    let mut shared = Shared::new(&config);
    let context = Context { id: ID, config: &config, now: NOW };
    let taken = Rc::new(RefCell::new(Taken { bytes: Vec::new(), room: 10 }));
    let said = [REQUEST.as_bytes(), &masked(0x81, [1, 2, 3, 4], b"Hello")].concat();
    let socket = Socket { said, taken: taken.clone() };
    shared.stats.accepted(Role::Echo.kind());
    let mut connection = Connection::new(socket, ID.serial, Role::Echo, NOW);
    let source = Source::Connection(ID);
    connection.note(&Readiness { source, readable: true, writable: true, read_closed: false });
    connection.turn(&mut shared, &context);
    assert_eq!(taken.borrow().bytes, ANSWER.as_bytes()[..10], "what there is room for");

    taken.borrow_mut().room = usize::MAX;
    connection.note(&Readiness { source, readable: false, writable: true, read_closed: false });
    let fallen = connection.deliver(b"\x81\x02hi", 1, &mut shared.stats, NOW);
    assert_eq!(fallen, None);
    connection.leave("bye", &mut shared.stats, NOW);
    connection.turn(&mut shared, &context);
    let expected = [ANSWER.as_bytes(), b"\x81\x05Hello\x81\x02hi\x88\x05\x03\xe9bye"].concat();
    assert_eq!(taken.borrow().bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// A board's member that takes as much as is said and is never done: what was sent to it is no reason to keep anything.
#[test]
fn who_is_always_a_little_late_costs_what_it_is_late() {
    const LATE: usize = 200_000;
    let config = config::config();
    let mut shared = Shared::new(&config);
    let context = Context { id: ID, config: &config, now: NOW };
    let taken = Rc::new(RefCell::new(Taken { bytes: Vec::new(), room: usize::MAX }));
    let socket = Socket { said: REQUEST.as_bytes().to_vec(), taken: taken.clone() };
    shared.stats.accepted(Role::Echo.kind());
    let mut connection = Connection::new(socket, ID.serial, Role::Echo, NOW);
    let source = Source::Connection(ID);
    connection.note(&Readiness { source, readable: true, writable: true, read_closed: false });
    connection.turn(&mut shared, &context);

    let message = [&[0x82, 126, 0x3E, 0x80][..], &[b'm'; 16_000]].concat();
    taken.borrow_mut().room = 0;
    allocator::take_peak();
    for round in 0..5_000 {
        allocator::counted(|| connection.deliver(&message, 1, &mut shared.stats, NOW));
        if round * message.len() >= LATE {
            taken.borrow_mut().room = message.len();
            connection.note(&Readiness { source, readable: false, writable: true, read_closed: false });
            allocator::counted(|| connection.turn(&mut shared, &context));
            taken.borrow_mut().bytes.clear();
        }
        connection.assert_invariants();
    }
    let peak = allocator::take_peak();
    assert!(peak <= 2 * LATE as isize, "{peak} bytes for a member {LATE} bytes late");
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.said.len().min(buf.len());
        buf[..count].copy_from_slice(&self.said[..count]);
        self.said.drain(..count);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = self.taken.borrow_mut();
        let count = bytes.len().min(taken.room);
        taken.room -= count;
        allocator::uncounted(|| taken.bytes.extend_from_slice(&bytes[..count]));
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            acked: 0,
            edge: 0,
            unsent: 0,
            unread: false,
            in_flight: InFlight::Nothing,
            heard: Duration::ZERO,
            spoke: Duration::ZERO,
        }
    }
}

//! A kernel without whims: it does what it is told, at a cost that it counts, on a clock that only work and waiting move.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use support::{allocator, config};
use wsecho::reactor::Reactor;
use wsecho::reactor::config::Config;
use wsecho::reactor::kernel::{InFlight, Kernel, Notice, Readiness, Stream, Vitals};
use wsecho::reactor::listener::Role;
use wsecho::reactor::moment::Moment;
use wsecho::reactor::token::{ConnId, Source};

/// What an accept takes, with all that belongs to it.
pub const ACCEPT_COST: Duration = Duration::from_micros(20);
/// Time passes in steps of this at most where nothing happens, so that a test can do something meanwhile.
const NAP: Duration = Duration::from_millis(5);
/// What another call takes.
pub const CALL_COST: Duration = Duration::from_micros(5);

/// The machine under a reactor.
#[derive(Default)]
pub struct Machine {
    pub now: Duration,
    /// Who waits at each listener: what each of them says.
    pub queues: Vec<VecDeque<Vec<u8>>>,
    /// What accept fails with, every time.
    pub accept_error: Option<ErrorKind>,
    pub peers: Vec<Peer>,
    /// Calls of accept.
    pub accepts: u64,
    /// Polls that found nothing: those that did not wait, and those that did.
    pub looks: u64,
    pub sleeps: u64,
    /// What the service manager was told.
    pub notices: u64,
    /// Bytes that each client who comes takes; without, all.
    pub room: Option<usize>,
    events: Vec<Readiness>,
}

/// A client, and what became of it.
#[derive(Default)]
pub struct Peer {
    /// What it says and the server has not read.
    pub says: VecDeque<u8>,
    pub heard: Vec<u8>,
    /// When it last heard something.
    heard_at: Duration,
    /// What its socket still takes of what it is told; `None` for everything.
    pub room: Option<usize>,
    /// What one read of the server took, at most.
    pub longest_read: usize,
    /// Calls of read and write, and the bytes that were read.
    pub reads: usize,
    pub writes: usize,
    pub bytes: usize,
    /// Times the system was asked what it knows of this client.
    pub asks: usize,
    pub gone: bool,
    /// It sends no more: behind what it says comes an end.
    pub fin: bool,
    /// The next call on its socket tells of a RST.
    pub reset: bool,
    /// The server has sent its FIN.
    pub ended: bool,
    /// It has asked for a RST.
    pub was_reset: bool,
    /// Nothing that the server says arrives any more; how much that is.
    pub is_lost: bool,
    lost: usize,
    id: Option<ConnId>,
}

/// What the server did for all clients.
pub struct Work {
    pub reads: usize,
    pub writes: usize,
    pub bytes: usize,
    pub asks: usize,
}

impl Work {
    pub fn calls(&self) -> usize {
        self.reads + self.writes + self.asks
    }
}

impl Machine {
    /// Events that the next poll will tell.
    pub fn events(&self) -> usize {
        self.events.len()
    }
}

/// A server over a machine that the test keeps a hand on.
pub struct Server {
    pub machine: Rc<RefCell<Machine>>,
    pub reactor: Reactor<Shared>,
}

pub struct Shared(Rc<RefCell<Machine>>);

pub struct Socket {
    machine: Rc<RefCell<Machine>>,
    index: usize,
}

impl Server {
    pub fn new(roles: &[Role], change: impl FnOnce(&mut Config)) -> Server {
        let mut config = config::config();
        change(&mut config);
        let machine =
            Machine { queues: roles.iter().map(|_| VecDeque::new()).collect(), ..Machine::default() };
        let machine = Rc::new(RefCell::new(machine));
        let reactor = Reactor::new(Shared(machine.clone()), roles, config);
        Server { machine, reactor }
    }

    /// That many clients come to a listener, and each says that.
    pub fn come(&self, listener: usize, count: usize, says: &[u8]) {
        let mut machine = self.machine.borrow_mut();
        machine.queues[listener].extend((0..count).map(|_| says.to_vec()));
        machine.events.push(readable(Source::Listener(listener)));
    }

    /// The client says more.
    pub fn say(&self, peer: usize, says: &[u8]) {
        let mut machine = self.machine.borrow_mut();
        let peer = &mut machine.peers[peer];
        peer.says.extend(says);
        let id = peer.id.expect("it was let in");
        machine.events.push(readable(Source::Connection(id)));
    }

    /// The client takes so many more bytes.
    pub fn take(&self, peer: usize, count: usize) {
        let mut machine = self.machine.borrow_mut();
        let peer = &mut machine.peers[peer];
        peer.room = peer.room.map(|room| room + count);
        let Some(id) = peer.id.filter(|_| !peer.gone) else { return };
        machine.events.push(Readiness {
            source: Source::Connection(id),
            readable: false,
            writable: true,
            read_closed: false,
        });
    }

    pub fn peer(&self, peer: usize) -> Ref<'_, Peer> {
        Ref::map(self.machine.borrow(), |machine| &machine.peers[peer])
    }

    pub fn work(&self) -> Work {
        let machine = self.machine.borrow();
        let sum = |part: fn(&Peer) -> usize| machine.peers.iter().map(part).sum();
        Work {
            reads: sum(|peer| peer.reads),
            writes: sum(|peer| peer.writes),
            bytes: sum(|peer| peer.bytes),
            asks: sum(|peer| peer.asks),
        }
    }

    pub fn signal(&self) {
        self.machine.borrow_mut().events.push(readable(Source::Stop));
    }

    /// One round; false when it was the last.
    pub fn tick(&mut self) -> bool {
        let goes_on = allocator::counted(|| self.reactor.tick()).expect("this kernel's polls do not fail");
        self.reactor.assert_invariants();
        goes_on
    }

    /// The clients that the server holds.
    pub fn open(&self) -> usize {
        self.machine.borrow().peers.iter().filter(|peer| !peer.gone).count()
    }

    /// The client sends no more.
    pub fn end(&self, peer: usize) {
        self.leave(peer, |peer| peer.fin = true);
    }

    /// The client resets the connection.
    pub fn break_off(&self, peer: usize) {
        self.leave(peer, |peer| peer.reset = true);
    }

    fn leave(&self, peer: usize, how: impl FnOnce(&mut Peer)) {
        let mut machine = self.machine.borrow_mut();
        let peer = &mut machine.peers[peer];
        how(peer);
        let id = peer.id.expect("it was let in");
        machine.events.push(Readiness { read_closed: true, ..readable(Source::Connection(id)) });
    }
}

/// Takes as many bytes as fit into `buf`; the queue's own `read` stops where its memory wraps.
fn read_all(queue: &mut VecDeque<u8>, buf: &mut [u8]) -> usize {
    let count = queue.len().min(buf.len());
    for (byte, taken) in buf.iter_mut().zip(queue.drain(..count)) {
        *byte = taken;
    }
    count
}

fn readable(source: Source) -> Readiness {
    Readiness { source, readable: true, writable: false, read_closed: false }
}

impl Kernel for Shared {
    type Stream = Socket;

    fn poll(&mut self, timeout: Option<Duration>, on_event: impl FnMut(Readiness)) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        let events = allocator::uncounted(|| std::mem::take(&mut machine.events));
        if events.is_empty() && timeout == Some(Duration::ZERO) {
            machine.looks += 1;
            machine.now += CALL_COST;
        } else if events.is_empty() {
            machine.sleeps += 1;
            machine.now += timeout.unwrap_or_default().min(NAP);
        }
        drop(machine);
        events.iter().copied().for_each(on_event);
        allocator::uncounted(|| drop(events));
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment::default() + self.0.borrow().now
    }

    fn accept(&mut self, listener: usize) -> io::Result<Socket> {
        let mut machine = self.0.borrow_mut();
        machine.accepts += 1;
        machine.now += ACCEPT_COST;
        if let Some(error) = machine.accept_error {
            return Err(error.into());
        }
        let says = machine.queues[listener].pop_front().ok_or(ErrorKind::WouldBlock)?;
        let room = machine.room;
        allocator::uncounted(|| machine.peers.push(Peer { says: says.into(), room, ..Peer::default() }));
        Ok(Socket { machine: self.0.clone(), index: machine.peers.len() - 1 })
    }

    fn register(&mut self, stream: &mut Socket, id: ConnId) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        machine.peers[stream.index].id = Some(id);
        if !machine.peers[stream.index].says.is_empty() {
            allocator::uncounted(|| machine.events.push(readable(Source::Connection(id))));
        }
        Ok(())
    }

    fn close_listener(&mut self, listener: usize) {
        self.0.borrow_mut().queues[listener].clear();
    }

    fn give_back(&mut self) {}

    fn notify(&mut self, _: Notice) {
        self.0.borrow_mut().notices += 1;
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut machine = self.machine.borrow_mut();
        machine.now += CALL_COST;
        let peer = &mut machine.peers[self.index];
        if peer.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let count = read_all(&mut peer.says, buf);
        peer.reads += 1;
        peer.bytes += count;
        peer.longest_read = peer.longest_read.max(count);
        if count == 0 && !peer.fin { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut machine = self.machine.borrow_mut();
        machine.now += CALL_COST;
        let now = machine.now;
        let peer = &mut machine.peers[self.index];
        assert!(!peer.ended, "bytes behind the FIN");
        if peer.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        peer.writes += 1;
        if peer.is_lost {
            peer.lost += bytes.len();
            return Ok(bytes.len());
        }
        let count = bytes.len().min(peer.room.unwrap_or(usize::MAX));
        peer.room = peer.room.map(|room| room - count);
        allocator::uncounted(|| peer.heard.extend(&bytes[..count]));
        if count > 0 {
            peer.heard_at = now;
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&self) -> io::Result<()> {
        self.machine.borrow_mut().peers[self.index].ended = true;
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        self.machine.borrow_mut().peers[self.index].was_reset = true;
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn vitals(&self) -> Vitals {
        let mut machine = self.machine.borrow_mut();
        machine.now += CALL_COST;
        let now = machine.now;
        let peer = &mut machine.peers[self.index];
        peer.asks += 1;
        let acked = peer.heard.len() as u32;
        Vitals {
            acked,
            edge: acked,
            unsent: 0,
            unread: peer.room == Some(0),
            in_flight: if peer.lost > 0 { InFlight::Data } else { InFlight::Nothing },
            heard: now.saturating_sub(peer.heard_at),
            spoke: Duration::MAX,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.machine.borrow_mut().peers[self.index].gone = true;
    }
}

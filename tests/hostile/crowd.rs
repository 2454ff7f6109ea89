//! Many clients at once, in one thread of ours.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

/// What each of a crowd does.
#[derive(Clone)]
pub struct Part {
    /// What it says first.
    pub opening: Vec<u8>,
    /// What it says again and again behind that.
    pub refrain: Vec<u8>,
    /// How often; `None` for ever.
    pub times: Option<usize>,
    /// Whether it takes what it is told.
    pub reads: bool,
    /// Whether it waits with the refrain until [`Crowd::go`].
    pub waits: bool,
}

/// A crowd at work. Dropping it ends it, with resets.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    /// Set by whoever wants the refrain to begin, if it waits.
    go: Arc<AtomicBool>,
    pub said: Arc<AtomicU64>,
    pub heard: Arc<AtomicU64>,
    /// Members who have said all they had to say, and those who were dropped.
    pub done: Arc<AtomicU64>,
    pub gone: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

struct Member {
    stream: TcpStream,
    /// Bytes said so far.
    said: usize,
    gone: bool,
}

impl Crowd {
    /// As many clients as `count`, which are all connected when this returns.
    pub fn start(address: SocketAddr, count: usize, part: Part) -> Crowd {
        let mut poll = Poll::new().expect("a descriptor");
        let mut members: Vec<Member> = Vec::with_capacity(count);
        for index in 0..count {
            let stream = std::net::TcpStream::connect(address).expect("the server listens");
            stream.set_nonblocking(true).expect("a socket");
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest).expect("room in the poll");
            members.push(Member { stream, said: 0, gone: false });
        }
        let mut crowd = Crowd {
            stop: Arc::default(),
            go: Arc::new(AtomicBool::new(!part.waits)),
            said: Arc::default(),
            heard: Arc::default(),
            done: Arc::default(),
            gone: Arc::default(),
            thread: None,
        };
        let (stop, said, heard) = (crowd.stop.clone(), crowd.said.clone(), crowd.heard.clone());
        let (done, gone, go) = (crowd.done.clone(), crowd.gone.clone(), crowd.go.clone());
        crowd.thread = Some(thread::spawn(move || {
            let mut events = Events::with_capacity(1024);
            let mut scratch = vec![0; 1 << 16];
            // Long enough that one call says much of a short refrain.
            let block = part.refrain.repeat((1 << 16) / part.refrain.len().max(1));
            let mut ready: VecDeque<usize> = VecDeque::new();
            let mut may_go = false;
            while !stop.load(Relaxed) {
                if may_go != go.load(Relaxed) {
                    may_go = true;
                    ready.extend(0..members.len());
                }
                let patience = if ready.is_empty() { Duration::from_millis(20) } else { Duration::ZERO };
                poll.poll(&mut events, Some(patience)).unwrap_or_default();
                ready.extend(events.iter().map(|event| event.token().0));
                for _ in 0..ready.len() {
                    let Some(index) = ready.pop_front() else { break };
                    let member = &mut members[index];
                    if member.gone {
                        continue;
                    }
                    let (was_done, before) = (part.is_done(member.said), member.said);
                    let talked = member.talk(&part, &block, may_go);
                    let listens = !part.reads || member.listen(&mut scratch, &heard);
                    match talked {
                        Some(_) if !listens => member.gone = true,
                        None => member.gone = true,
                        Some(true) => ready.push_back(index),
                        Some(false) => {}
                    }
                    gone.fetch_add(u64::from(member.gone), Relaxed);
                    said.fetch_add((member.said - before) as u64, Relaxed);
                    done.fetch_add(u64::from(!was_done && part.is_done(member.said)), Relaxed);
                }
            }
        }));
        crowd
    }
}

impl Crowd {
    /// Lets the refrain begin.
    pub fn go(&self) {
        self.go.store(true, Relaxed);
    }

    /// Waits until nobody can say more.
    pub fn until_stuck(&self) {
        let mut said = u64::MAX;
        while said != self.said.load(Relaxed) {
            said = self.said.load(Relaxed);
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Part {
    fn is_done(&self, said: usize) -> bool {
        self.times.is_some_and(|times| said >= self.opening.len() + times * self.refrain.len())
    }
}

impl Member {
    /// Says a little; whether it could say more at once. `None` once the connection is lost.
    fn talk(&mut self, part: &Part, block: &[u8], may_go: bool) -> Option<bool> {
        for _ in 0..4 {
            let bytes = if self.said < part.opening.len() {
                &part.opening[self.said..]
            } else if part.refrain.is_empty() || !may_go {
                return Some(false);
            } else {
                let at = (self.said - part.opening.len()) % part.refrain.len();
                let all = |times: usize| part.opening.len() + times * part.refrain.len();
                let left = part.times.map_or(usize::MAX, |times| all(times).saturating_sub(self.said));
                &block[at..block.len().min(at.saturating_add(left))]
            };
            if bytes.is_empty() {
                return Some(false);
            }
            match self.stream.write(bytes) {
                Ok(count) => self.said += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(false),
                Err(_) => return None,
            }
        }
        Some(true)
    }

    fn listen(&mut self, scratch: &mut [u8], heard: &AtomicU64) -> bool {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return false,
                Ok(count) => _ = heard.fetch_add(count as u64, Relaxed),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! `--workers`: several processes of one thread each behind the same ports, and a parent that starts them, starts again who
//! dies, and stops them.
//!
//! It holds the ports, so that they stay the workers' own while one of them is away, and listens on none. Each worker is told to
//! share them (SO_REUSEPORT): the kernel deals out the clients. What a worker would tell a service manager, it tells the parent,
//! which speaks for all.

use crate::args::{Address, Options, StatsPlace, Workers};
use crate::daemon::{descriptor_limit, max_buffered, max_connections, open_log};
use crate::failure::Failure;
use crate::listeners::Listeners;
use crate::log;
use crate::notify::Manager;
use crate::reactor::listener::Role;
use mio::net::UnixDatagram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;
use std::time::{Duration, Instant};

/// How soon one that died is started again, at first; twice as long each time that it dies young.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// One that has served for so long did not die young.
const GROWN_UP: Duration = Duration::from_secs(10);
/// The token of the signals; those below are the workers'.
const SIGNALS: Token = Token(usize::MAX - 1);
/// This very program, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";

/// Has workers serve until a signal ends them.
///
/// # Errors
/// A [`Failure`] when they cannot start as asked, or one ended badly when it was stopped; nobody serves then.
pub fn run(options: &Options) -> Result<(), Failure> {
    open_log(options);
    let Some(workers) = &options.workers else { return Ok(()) };
    if std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id())) {
        let text = "--workers binds its own ports: it does not go with sockets of a service manager";
        return Err(Failure::new(Failure::USAGE, text.to_owned()));
    }
    let listeners = Listeners::hold(options)?;
    let descriptors = descriptor_limit();
    let each = max_connections(options, descriptors, listeners.sockets.len())?;
    let kept = options.max_buffered.unwrap_or_else(|| (max_buffered() / workers.count).max(1 << 20));
    let orders = orders(options, workers, &listeners, kept)?;
    let mut parent = Parent::new(orders).map_err(lost)?;
    parent.start()?;
    if parent.is_stopping {
        return parent.end();
    }
    for announcement in listeners.announcements(options.echo_paths.example()) {
        log::info(format_args!("{announcement}"));
    }
    log::info(format_args!(
        "{} workers, each with up to {each} clients ({descriptors} descriptors) and {} MiB kept for them",
        workers.count,
        kept >> 20
    ));
    parent.manager.tell(&format!("READY=1\nSTATUS={} workers", workers.count));
    parent.watch()
}

fn lost(error: io::Error) -> Failure {
    Failure::system(format!("cannot see to the workers: {error}"))
}

/// What each worker is started with.
fn orders(
    options: &Options,
    workers: &Workers,
    listeners: &Listeners,
    kept: usize,
) -> Result<Vec<Vec<String>>, Failure> {
    let mut all = workers.words.clone();
    all.extend(["--reuse-port", "--no-boards", "--policy", "off"].map(str::to_owned));
    if options.max_buffered.is_none() {
        all.extend(["--max-buffered".to_owned(), kept.to_string()]);
    }
    for (role, address) in listeners.addresses() {
        let option = match role {
            Role::Echo | Role::ProxiedEcho => "--listen",
            _ => "--listen-tls",
        };
        all.extend([option.to_owned(), address]);
    }
    (0..workers.count)
        .map(|number| {
            let mut words = all.clone();
            words.extend(["--worker".to_owned(), format!("{number}:{}", std::process::id())]);
            if let Some(StatsPlace::At(address)) = &options.stats {
                let address = numbered(address, number).ok_or_else(|| {
                    let text = format!("--stats {address} leaves no port for worker {number}");
                    Failure::new(Failure::USAGE, text)
                })?;
                words.extend(["--stats".to_owned(), address]);
            }
            Ok(words)
        })
        .collect()
}

/// The address of a worker's numbers: one port behind the other.
fn numbered(address: &Address, number: usize) -> Option<String> {
    let port = |first: u16| if first == 0 { Some(0) } else { first.checked_add(number.try_into().ok()?) };
    Some(match address {
        Address::Any(first) => port(*first)?.to_string(),
        Address::Tcp(address) => {
            let mut address = *address;
            address.set_port(port(address.port())?);
            address.to_string()
        }
        Address::Name(host, first) => Address::Name(host.clone(), port(*first)?).to_string(),
        Address::Unix(_) => return None,
    })
}

/// A process, and what there is to know of it.
struct Process {
    orders: Vec<String>,
    child: Option<Pid>,
    /// Where it says what others say to the service manager.
    notices: UnixDatagram,
    /// The name of that socket.
    name: String,
    started: Instant,
    is_ready: bool,
    /// It has said that its loop goes round.
    is_alive: bool,
    back_off: Duration,
    /// When it is to be started again.
    again: Option<Instant>,
}

impl Process {
    fn new(number: usize, orders: Vec<String>, poll: &Poll) -> io::Result<Process> {
        let name = format!("wsecho-{}-{number}", std::process::id());
        let socket = net::UnixDatagram::bind_addr(&net::SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        let mut notices = UnixDatagram::from_std(socket);
        poll.registry().register(&mut notices, Token(number), Interest::READABLE)?;
        Ok(Process {
            orders,
            child: None,
            notices,
            name,
            started: Instant::now(),
            is_ready: false,
            is_alive: false,
            back_off: BACK_OFF,
            again: None,
        })
    }

    /// Starts it. The library's own `Command` would be a twelfth of the binary.
    fn spawn(&mut self) -> io::Result<()> {
        let mut words = vec![CString::from(c"wsecho")];
        for word in &self.orders {
            words.push(CString::new(word.as_str())?);
        }
        let mut environment = vec![CString::new(format!("NOTIFY_SOCKET=@{}", self.name))?];
        for (name, value) in std::env::vars_os() {
            if name != "NOTIFY_SOCKET" && name != "WATCHDOG_PID" {
                environment.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
            }
        }
        let mut attributes = PosixSpawnAttr::init()?;
        // What a terminal sends to its foreground (^C) comes from us, once.
        attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETPGROUP)?;
        attributes.set_pgroup(Pid::from_raw(0))?;
        self.started = Instant::now();
        self.again = None;
        let files = PosixSpawnFileActions::init()?;
        self.child = Some(posix_spawn(PROGRAM, &files, &attributes, &words, &environment)?);
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = self.child {
            // Nobody is there who has not been waited for.
            let _ = kill(child, signal);
        }
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<Ended> {
        let ended = match waitpid(self.child?, Some(WaitPidFlag::WNOHANG)).ok()? {
            WaitStatus::Exited(_, status) => Ended::Exit(u8::try_from(status).unwrap_or(1)),
            WaitStatus::Signaled(_, signal, _) => Ended::Killed(signal),
            _ => return None,
        };
        self.child = None;
        Some(ended)
    }

    /// Reads what it had to say.
    fn hear(&mut self) {
        let mut notice = [0; 512];
        while let Ok(length) = self.notices.recv(&mut notice) {
            for line in notice[..length].split(|byte| *byte == b'\n') {
                self.is_ready |= line == b"READY=1";
                self.is_alive |= line == b"WATCHDOG=1";
            }
        }
    }

    /// It has died, and is to be started again, later each time.
    fn put_off(&mut self) -> Duration {
        if self.started.elapsed() >= GROWN_UP {
            self.back_off = BACK_OFF;
        }
        let wait = self.back_off;
        self.back_off = (2 * wait).min(BACK_OFF_MAX);
        self.again = Some(Instant::now() + wait);
        wait
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Exit(u8),
    Killed(Signal),
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exit(status) => write!(out, "exit status {status}"),
            Ended::Killed(signal) => write!(out, "{signal}"),
        }
    }
}

struct Parent {
    poll: Poll,
    events: Events,
    signals: SignalFd,
    manager: Manager,
    workers: Vec<Process>,
    /// A signal has come that ends all.
    is_stopping: bool,
}

impl Parent {
    fn new(orders: Vec<Vec<String>>) -> io::Result<Parent> {
        let poll = Poll::new()?;
        let caught = SigSet::from_iter([
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGCHLD,
        ]);
        caught.thread_block()?;
        let signals = SignalFd::with_flags(&caught, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)?;
        let workers = orders.into_iter().enumerate();
        let workers = workers.map(|(number, orders)| Process::new(number, orders, &poll));
        let workers = workers.collect::<io::Result<Vec<Process>>>()?;
        let manager = Manager::from_environment();
        Ok(Parent { events: Events::with_capacity(64), poll, signals, manager, workers, is_stopping: false })
    }

    /// Starts the first, and the others once it serves: what one of them cannot do, none can, and it is said once.
    fn start(&mut self) -> Result<(), Failure> {
        for first in [true, false] {
            for worker in &mut self.workers {
                if worker.child.is_none() {
                    worker.spawn().map_err(lost)?;
                    if first {
                        break;
                    }
                }
            }
            while !self.is_stopping && self.workers.iter().any(|each| each.child.is_some() && !each.is_ready)
            {
                self.wait().map_err(lost)?;
                if let Some((number, status)) = self.next_ended().filter(|_| !self.is_stopping) {
                    self.stop(Signal::SIGTERM);
                    self.end()?;
                    return Err(start_failure(number, status));
                }
            }
        }
        Ok(())
    }

    /// Sees to them until the last has ended.
    fn watch(&mut self) -> Result<(), Failure> {
        while !self.is_stopping {
            self.wait().map_err(lost)?;
            while let Some((number, status)) = self.next_ended() {
                if !self.is_stopping {
                    let wait = self.workers[number].put_off();
                    log::error(format_args!(
                        "worker {number} has ended ({status}): it is started again in {} ms",
                        wait.as_millis()
                    ));
                } else if status != Ended::Exit(0) {
                    log::error(format_args!("worker {number} has ended ({status})"));
                }
            }
            self.start_again();
            self.speak_for_all();
        }
        self.end()
    }

    /// Waits for the last to end.
    fn end(&mut self) -> Result<(), Failure> {
        let mut worst = None;
        while self.workers.iter().any(|each| each.child.is_some()) {
            while let Some((number, status)) = self.next_ended() {
                if status != Ended::Exit(0) {
                    log::error(format_args!("worker {number} has ended ({status})"));
                    worst = worst.or(Some(status));
                }
            }
            if self.workers.iter().any(|each| each.child.is_some()) {
                self.wait().map_err(lost)?;
            }
        }
        match worst {
            None => Ok(()),
            Some(_) => Err(Failure::system("not every worker ended well".to_owned())),
        }
    }

    /// Waits until something happens, or one is to be started again; signals are passed on.
    fn wait(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let next = self.workers.iter().filter_map(|worker| worker.again).min();
        let timeout = next.map(|at| at.saturating_duration_since(now));
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let mut signalled = false;
        for event in &self.events {
            match event.token() {
                SIGNALS => signalled = true,
                Token(number) => self.workers[number].hear(),
            }
        }
        while signalled && let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(signal @ (Signal::SIGTERM | Signal::SIGINT)) => self.stop(signal),
                Ok(Signal::SIGCHLD) | Err(_) => {}
                Ok(signal) => self.workers.iter().for_each(|worker| worker.signal(signal)),
            }
        }
        Ok(())
    }

    fn stop(&mut self, signal: Signal) {
        if !self.is_stopping {
            self.manager.tell("STOPPING=1\nSTATUS=Telling clients to go");
        }
        self.is_stopping = true;
        for worker in &mut self.workers {
            worker.again = None;
            worker.signal(signal);
        }
    }

    fn next_ended(&mut self) -> Option<(usize, Ended)> {
        self.workers.iter_mut().enumerate().find_map(|(number, worker)| Some((number, worker.ended()?)))
    }

    fn start_again(&mut self) {
        let now = Instant::now();
        for (number, worker) in self.workers.iter_mut().enumerate() {
            if worker.again.is_some_and(|at| at <= now)
                && let Err(error) = worker.spawn()
            {
                let wait = worker.put_off();
                log::error(format_args!(
                    "cannot start worker {number} ({error}): again in {} ms",
                    wait.as_millis()
                ));
            }
        }
    }

    /// Tells the service manager that all loops go round, once all have said so who are there.
    fn speak_for_all(&mut self) {
        let mut there = self.workers.iter().filter(|worker| worker.child.is_some()).peekable();
        if there.peek().is_some() && there.all(|worker| worker.is_alive) {
            self.workers.iter_mut().for_each(|worker| worker.is_alive = false);
            self.manager.tell("WATCHDOG=1");
        }
    }
}

/// Why a worker never served: it has said so itself, unless it could not.
fn start_failure(number: usize, ended: Ended) -> Failure {
    match ended {
        Ended::Exit(status @ 1..) => Failure::new(status, String::new()),
        _ => Failure::system(format!("worker {number} ended before it served ({ended})")),
    }
}

//! What every case happens to: a server, and a healthy client of it who must not notice.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use support::client::{Client, FIN, SWITCHING, TEXT, frame, reply, upgrade};
use support::process::{descriptors, resident, state};
use support::server::{PATIENCE, Server};

/// How often the healthy client speaks.
const PULSE: Duration = Duration::from_millis(1);

/// A server under attack, and its witness.
pub struct Scene {
    pub server: Server,
    /// Where it tells its numbers.
    pub numbers_at: SocketAddr,
    witness: Option<Witness>,
    base: Footing,
    /// The most memory that it had during the case.
    peak: Arc<AtomicU64>,
}

/// What a server holds.
#[derive(Debug, Clone, Copy)]
struct Footing {
    descriptors: usize,
    resident: usize,
}

impl Scene {
    /// Starts a server with these options more, warms it up, and lets the witness speak.
    pub fn start(args: &[&str]) -> Scene {
        let always = ["--policy", "127.0.0.1:0", "--stats", "127.0.0.1:0"];
        let args = [&always, args].concat();
        let server = match args.contains(&"--listen-tls") {
            // A build of its own, which only tests/hostile/run makes.
            true => Server::start_program(&tls_program(), &args, |_, _| {}),
            false => Server::start(&args),
        };
        let line = server.wait_for("numbers at http://");
        let numbers_at = line.split('/').nth(2).and_then(|text| text.parse().ok()).expect("an address");
        let mut scene = Scene {
            server,
            numbers_at,
            witness: None,
            base: Footing { descriptors: 0, resident: 0 },
            peak: Arc::default(),
        };
        for _ in 0..16 {
            let mut client = scene.open();
            client.echo("warm");
            client.finish();
        }
        scene.settle();
        scene.base = scene.footing();
        scene.witness = Some(Witness::start(scene.server.echo, scene.server.pid(), scene.peak.clone()));
        scene
    }

    /// A client that is let in.
    pub fn open(&self) -> Client {
        open(self.server.echo)
    }

    /// All numbers of the server, by name and labels and without `wsecho_`.
    pub fn numbers(&self) -> HashMap<String, f64> {
        let page = self.ask("/metrics");
        let sample = |line: &str| {
            let (name, value) = line.strip_prefix("wsecho_")?.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        page.lines().filter_map(sample).collect()
    }

    /// What is answered to a GET where the numbers are.
    pub fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.numbers_at, PATIENCE).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").expect("it takes it");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Clients that the server holds, but for those who ask for numbers.
    pub fn clients(&self) -> usize {
        let open = |(name, _): &(String, f64)| name.starts_with("open{") && !name.contains("\"stats\"");
        self.numbers().into_iter().filter(open).map(|(_, count)| count as usize).sum()
    }

    /// Processor time of the server so far.
    pub fn cpu(&self) -> Duration {
        cpu(self.server.pid())
    }

    /// Stops the server, does that, and lets it go on.
    pub fn while_stopped(&self, act: impl FnOnce()) {
        self.server.signal(Signal::SIGSTOP);
        wait("the server stops", || state(self.server.pid()) == 'T');
        act();
        self.server.signal(Signal::SIGCONT);
    }

    /// The case is over: the witness must have lost nothing, and all must be as before. The figures that every case has.
    pub fn end(mut self, memory_most: usize) -> Result<Figures, String> {
        let worst = self.witness.take().expect("it started").end()?;
        let peak = self.peak.load(Relaxed) as usize;
        let start = Instant::now();
        // Nothing but the witness was to stay, and it has gone.
        while !self.is_settled() {
            if start.elapsed() > PATIENCE {
                let (numbers, now) = (self.numbers(), self.footing());
                return Err(format!(
                    "not as before: {} clients, {} bytes kept, {now:?} after {:?}",
                    self.clients(),
                    numbers["buffered_bytes"],
                    self.base
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let after = self.footing().resident;
        self.server.signal(Signal::SIGTERM);
        let lines = self.server.lines();
        let status = self.server.ended();
        if !status.success() {
            return Err(format!("the server ended with {status}, and said {:?}", lines.last()));
        }
        let grown = |to: usize| to.saturating_sub(self.base.resident);
        let figures = Figures { worst, peak: grown(peak), left: grown(after) };
        if figures.peak > memory_most {
            return Err(format!("{figures}, and only {} MiB were allowed", memory_most >> 20));
        }
        Ok(figures)
    }

    fn is_settled(&self) -> bool {
        let now = self.footing();
        let most = self.base.resident + (self.base.resident / 10).max(8 << 20);
        self.clients() == 0
            && self.numbers()["buffered_bytes"] == 0.0
            && self.footing().descriptors <= self.base.descriptors
            && now.resident <= most
    }

    fn settle(&self) {
        wait("the server is alone", || self.clients() == 0);
    }

    fn footing(&self) -> Footing {
        let pid = self.server.pid();
        Footing { descriptors: descriptors(pid), resident: resident(pid) }
    }
}

/// What a case cost.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// The most processor time of the server that passed between a message of the witness and its echo.
    pub worst: Duration,
    /// Memory at most, and in the end, beyond what it was before.
    pub peak: usize,
    pub left: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = self.worst.as_secs_f64() * 1e3;
        let [peak, left] = [self.peak, self.left].map(|bytes| bytes as f64 / f64::from(1 << 20));
        write!(out, "waited {waited:.1} ms, memory +{peak:.1} MiB, {left:.1} MiB of it stay")
    }
}

/// A client that says something each millisecond, and hears it again.
struct Witness {
    stop: Arc<AtomicBool>,
    worst: Arc<Mutex<Duration>>,
    thread: JoinHandle<Result<(), String>>,
}

impl Witness {
    fn start(address: SocketAddr, pid: u32, peak: Arc<AtomicU64>) -> Witness {
        let (stop, worst) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Duration::ZERO)));
        let mut client = open(address);
        let (stopped, longest) = (stop.clone(), worst.clone());
        let thread = thread::spawn(move || {
            for number in 0_u64.. {
                if stopped.load(Relaxed) {
                    break;
                }
                let text = format!("witness {number}");
                let before = cpu(pid);
                client
                    .stream
                    .write_all(&frame(FIN | TEXT, text.as_bytes()))
                    .map_err(|error| error.to_string())?;
                let expected = reply(FIN | TEXT, text.as_bytes());
                let mut heard = vec![0; expected.len()];
                client
                    .stream
                    .read_exact(&mut heard)
                    .map_err(|error| format!("the witness: {error} after {number}"))?;
                let waited = cpu(pid).saturating_sub(before);
                if heard != expected {
                    return Err(format!("the witness heard {} and not {text:?}", heard.escape_ascii()));
                }
                let mut longest = longest.lock().expect("nobody panics with it");
                *longest = waited.max(*longest);
                drop(longest);
                peak.fetch_max(resident(pid) as u64, Relaxed);
                thread::sleep(PULSE);
            }
            Ok(())
        });
        Witness { stop, worst, thread }
    }

    fn end(self) -> Result<Duration, String> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| "the witness panicked".to_owned())??;
        let worst = *self.worst.lock().expect("nobody panicked with it");
        Ok(worst)
    }
}

fn open(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send(upgrade("/echo", "Origin: https://example.com\r\n"));
    client.expect(SWITCHING);
    client
}

/// The server with the feature `tls`.
fn tls_program() -> PathBuf {
    std::env::var_os("WSECHO_TLS").map(PathBuf::from).expect("tests/hostile/run says where it is")
}

/// Processor time of a process so far, its last slice included.
pub fn cpu(pid: u32) -> Duration {
    let clock: Result<ClockId, _> = clock_getcpuclockid(Pid::from_raw(pid as i32));
    clock.and_then(ClockId::now).map(Duration::from).unwrap_or_default()
}

/// Waits until `condition` holds. Panics, with `what`, if it does not come to that.
pub fn wait(what: &str, condition: impl FnMut() -> bool) {
    support::process::wait_until(what, condition);
}

//! loadgen is kept off its processor on purpose, and the server's figures stay the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::report;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::server::{Nature, Server, Time, now};
use crate::support::{alone, loadgen, scratch};
use crate::{MS, at, cell, ms, row, stat_cell};

/// Two processors: one for loadgen and what gets in its way, one for the server.
fn processors() -> [usize; 2] {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut all = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap());
    [all.next().unwrap(), all.next().expect("two processors")]
}

fn pin(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// Runs `work` on a thread of its own on processor `cpu` until `over`.
fn on<T: Send + 'static>(
    cpu: usize,
    over: &Arc<AtomicBool>,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let over = over.clone();
    thread::spawn(move || {
        pin(cpu);
        work(&over)
    })
}

/// Nine milliseconds in ten belong to somebody else.
fn hog(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let until = Instant::now() + ms(9);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        thread::sleep(ms(1));
    }
}

/// How late a thread wakes on the server's processor: so late may the server write what it says it writes.
fn lateness(over: &AtomicBool) -> Vec<u64> {
    let mut late = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let due = now() + MS;
        thread::sleep(Duration::from_millis(1));
        late.push(now().saturating_sub(due));
    }
    late.sort_unstable();
    late
}

#[test]
fn a_starved_loadgen_shows_it_and_blames_nobody() {
    let _alone = alone();
    let [ours, theirs] = processors();
    let over = Arc::<AtomicBool>::default();
    // The server's threads inherit its processor.
    let server = thread::spawn(move || {
        pin(theirs);
        Server::start(Nature { delay: Time::Fixed(ms(10)), ..Nature::default() })
    });
    let server = server.join().unwrap();
    // Never by way of TLS: the threads that would do that in front of the server have to wake up as well, on a processor that is
    // taken, and its log knows nothing of that.
    let url = format!("ws://{}/truth", server.address);
    let (late, hog) = (on(theirs, &over, lateness), on(ours, &over, hog));
    let path = scratch("starved.json");
    let load = "-c4 -R100 -d6s";
    let inner = loadgen(&format!("{load} --warmup 0s -q --json {} {url}", path.display()));
    let mut starved = std::process::Command::new("taskset");
    starved
        .args(["-c", &ours.to_string(), "chrt", "--idle", "0"])
        .arg(inner.get_program())
        .args(inner.get_args());
    let output = starved.env("XDG_CACHE_HOME", "/nonexistent").output().unwrap();
    over.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    let late = late.join().unwrap();
    let report =
        report::load(&path).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    std::fs::remove_file(&path).unwrap();

    assert_eq!(report.config.stamps, "kernel", "{:?}", report.verdict);
    let mut truth: Vec<u64> = server.log().iter().map(|m| m.left - m.arrived).collect();
    truth.sort_unstable();
    let times = &report.latency_ns;
    let [wire, response, slip, lag] =
        [&times.wire, &times.response, &times.own_slip, &times.read_lag].map(|stat| stat.as_ref().unwrap());
    let h = wire.histogram().unwrap();
    for q in [0.5, 0.9, 0.99] {
        let (found, true_) = (h.value_at_quantile(q), at(&truth, q));
        assert!(found >= true_ - true_ / 500, "p{}: {found} for {true_}", q * 100.0);
        // One interruption between a clock and a write in a hundred is enough for p99.
        let interrupted = if q < 0.99 { at(&late, q) } else { at(&late, 1.0) };
        let most = true_ + true_ / 20 + MS / 5 + interrupted;
        assert!(found <= most, "p{}: {found} for {true_}, at most {most}", q * 100.0);
    }
    // It was starved: replies lay about for milliseconds, and that is in neither wire nor response. Not all of them: sends, the
    // server's ten milliseconds and the turns of the other are in step for a while, and then a reply comes when loadgen is let in.
    assert!(lag.histogram().unwrap().value_at_quantile(0.99) > 2 * MS, "{lag:?}");
    let apart = response.mean - wire.mean - slip.mean;
    assert!(apart.abs() < response.mean / 50.0, "{} {} {}", response.mean, wire.mean, slip.mean);
    row(
        "answers 10 ms late, while loadgen has a tenth of a processor",
        load,
        &cell(|q| at(&truth, q)),
        &format!("wire {}", stat_cell(wire)),
        &format!("read lag {}", stat_cell(lag)),
    );
}

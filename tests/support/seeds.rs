//! Tests that a seed decides.

use fastrand::Rng;

/// Runs `test` with the seeds from 0 to `count`, or only with the one in `WSECHO_SEED`.
///
/// A seed that fails is printed with the command that replays it.
pub fn each_seed(count: u64, test: impl Fn(Rng)) {
    let seeds = replayed().map_or(0..count, |seed| seed..seed + 1);
    seeds.for_each(|seed| run(seed, &test));
}

/// The same with as many seeds as `goes_on`.
pub fn each_seed_while(goes_on: impl Fn() -> bool, test: impl Fn(Rng)) {
    match replayed() {
        Some(seed) => run(seed, &test),
        None => (0..).take_while(|_| goes_on()).for_each(|seed| run(seed, &test)),
    }
}

fn replayed() -> Option<u64> {
    Some(std::env::var("WSECHO_SEED").ok()?.parse().expect("WSECHO_SEED is a number"))
}

fn run(seed: u64, test: impl Fn(Rng)) {
    let _replay = Replay(seed);
    test(Rng::with_seed(seed));
}

struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            eprintln!("seed {} failed; WSECHO_SEED={} cargo test {name} replays it", self.0, self.0);
        }
    }
}

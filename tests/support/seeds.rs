//! Tests that a seed decides.

use fastrand::Rng;

/// Runs `test` with the seeds from 0 to `count`, or only with the one in `WSECHO_SEED`.
///
/// A seed that fails is printed with the command that replays it.
pub fn each_seed(count: u64, test: impl Fn(Rng)) {
    let seeds = match std::env::var("WSECHO_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("WSECHO_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let _replay = Replay(seed);
        test(Rng::with_seed(seed));
    }
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

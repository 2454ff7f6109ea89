//! Tests that a seed decides, the server's and loadgen's.

use std::env;

use fastrand::Rng;

/// Runs `test` with the seeds from 0 to `count`, or only with the one in `WSECHO_SEED`.
///
/// A seed that fails is printed with the command that replays it.
pub fn each_seed(count: u64, mut test: impl FnMut(Rng)) {
    let seeds = replayed().map_or(0..count, |seed| seed..seed + 1);
    seeds.for_each(|seed| run(seed, &mut test));
}

/// The same with as many seeds as `goes_on`.
pub fn each_seed_while(goes_on: impl Fn() -> bool, mut test: impl FnMut(Rng)) {
    match replayed() {
        Some(seed) => run(seed, &mut test),
        None => (0..).take_while(|_| goes_on()).for_each(|seed| run(seed, &mut test)),
    }
}

/// The one seed that is asked for.
pub fn replayed() -> Option<u64> {
    Some(env::var("WSECHO_SEED").ok()?.parse().expect("WSECHO_SEED is a number"))
}

fn run(seed: u64, test: &mut impl FnMut(Rng)) {
    let _replay = Replay(seed);
    test(Rng::with_seed(seed));
}

struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
            // Cargo calls the file after the test and a hash.
            let file = env::current_exe().unwrap_or_default();
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let test = stem.rsplit_once('-').map_or(&*stem, |(test, _)| test);
            eprintln!(
                "seed {seed} failed; WSECHO_SEED={seed} cargo test -p {package} --test {test} {name} replays it",
                seed = self.0
            );
        }
    }
}

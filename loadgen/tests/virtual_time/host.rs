//! What a machine does to whoever waits on it: threads wake late, some times later than others.

use fastrand::Rng;

/// How a machine is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// Nothing else runs on it.
    Quiet,
    /// Others come and go, for a few seconds each, as on a shared machine.
    Shared,
    /// Others want more than there is, for most of the time.
    Crowded,
    /// Whoever waits has a tenth of a processor.
    Starved,
    /// Quiet, but another one in every run: how deep its processors sleep differs twofold.
    Moody,
}

/// A machine, as one thread on it sees it: who waits on it wakes so late.
#[derive(Clone)]
pub struct Host {
    manner: Manner,
    rng: Rng,
    /// Draws when neighbours come and go, alike for all threads of the machine.
    spells: Rng,
    /// Until when the neighbours are as they are, and whether they are there.
    spell: (u64, bool),
    /// How many times as long as usual it takes to wake, alike for all threads.
    mood: f64,
}

impl Host {
    /// As three threads of one machine see it.
    pub fn threads(manner: Manner, seed: u64) -> [Host; 3] {
        let mut spells = Rng::with_seed(seed);
        let normal: f64 = (0..12).map(|_| Rng::f64(&mut spells)).sum::<f64>() - 6.0;
        let mood = if manner == Manner::Moody { (0.35 * normal).exp() } else { 1.0 };
        [1, 2, 3].map(|_| Host {
            manner,
            rng: spells.fork(),
            spells: Rng::with_seed(seed),
            spell: (0, false),
            mood,
        })
    }

    fn exponential(&mut self, mean: f64) -> u64 {
        exponential(&mut self.rng, mean)
    }

    fn neighbours(&mut self, now: u64) -> bool {
        while now >= self.spell.0 {
            let (stays, away) = match self.manner {
                Manner::Quiet | Manner::Starved | Manner::Moody => return false,
                Manner::Shared => (1.0e9, 4.0e9),
                Manner::Crowded => (10.0e9, 3.0e9),
            };
            let begun = self.spell.0;
            let length = exponential(&mut self.spells, if self.spell.1 { stays } else { away });
            self.spell = (begun + length + 1, !self.spell.1);
        }
        self.spell.1
    }

    /// How late a thread wakes that was to wake at `now`, nanoseconds.
    pub fn late(&mut self, now: u64) -> u64 {
        // An idle processor takes so long to come back, the deeper it slept the longer.
        let asleep = ((8_000 + self.exponential(4_000.0)) as f64 * self.mood) as u64;
        let crowded = self.neighbours(now);
        if self.manner == Manner::Starved {
            return asleep + self.exponential(4_000_000.0);
        }
        let waits = match (self.rng.u32(..1000), crowded) {
            (0..2, false) => self.exponential(150_000.0),
            (0..300, true) => self.exponential(60_000.0),
            (300..330, true) => self.exponential(1_500_000.0),
            _ => 0,
        };
        asleep + waits
    }
}

fn exponential(rng: &mut Rng, mean: f64) -> u64 {
    (-mean * (1.0 - rng.f64()).ln()) as u64
}

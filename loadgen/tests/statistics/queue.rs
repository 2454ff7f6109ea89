//! A server with one exponential teller, or with none: its times are known in closed form.

use hdrhistogram::Histogram;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// D/M/1, as loadgen's own schedule is.
    Even,
    /// M/M/1.
    Poisson,
}

/// A queue that is busy `load` of the time; at 0 every message has an exponential delay of its own.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    pub arrivals: Arrivals,
    pub load: f64,
}

impl Queue {
    /// Response times by the second of a run at `rate` messages a second, nanoseconds.
    pub fn run(&self, seed: u64, seconds: usize, rate: f64) -> Vec<Histogram<u64>> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut exponential = |mean: f64| -mean * (1.0 - rng.f64()).ln();
        let new = || Histogram::new_with_bounds(1_000, 60_000_000_000, 3).unwrap();
        let mut histograms: Vec<Histogram<u64>> = (0..seconds).map(|_| new()).collect();
        let gap = 1.0 / rate;
        let service = self.load * gap;
        // Long enough for the queue to forget that it began empty.
        let mut now = -20.0 / (1.0 - self.load).powi(2) * gap;
        let mut free = now;
        while now < seconds as f64 {
            let response = if self.load == 0.0 {
                exponential(gap)
            } else {
                free = now.max(free) + exponential(service);
                free - now
            };
            if now >= 0.0 {
                histograms[now as usize].record((response * 1e9) as u64).unwrap();
            }
            now += match self.arrivals {
                Arrivals::Even => gap,
                Arrivals::Poisson => exponential(gap),
            };
        }
        histograms
    }

    /// The response time that a share `q` of the messages does not exceed, nanoseconds. It is exponential: of rate
    /// μ(1 − σ), where σ is the chance to find the teller busy (Kleinrock, *Queueing Systems* I, section 6.4).
    pub fn quantile(&self, q: f64, rate: f64) -> f64 {
        if self.load == 0.0 {
            return -(1.0 - q).ln() / rate * 1e9;
        }
        let sigma = match self.arrivals {
            Arrivals::Poisson => self.load,
            Arrivals::Even => (0..200).fold(self.load, |sigma, _| (-(1.0 - sigma) / self.load).exp()),
        };
        -(1.0 - q).ln() * self.load / rate / (1.0 - sigma) * 1e9
    }
}

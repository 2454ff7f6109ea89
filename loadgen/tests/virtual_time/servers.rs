//! Servers whose truth is known, in virtual time.

use fastrand::Rng;

/// What a server sends, to whom, and when.
pub struct Reply {
    pub at: u64,
    pub connection: usize,
    pub payload: Vec<u8>,
}

/// How long a message takes by itself, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub enum Time {
    Fixed(f64),
    Exponential(f64),
}

/// What a server does wrong, to one message in so many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wrong {
    #[default]
    Nothing,
    Drops(u64),
    Twice(u64),
    Changes(u64),
    /// Every other connection has no answer.
    Silent,
    /// The reply is another delay late, so that later ones overtake it.
    Overtakes,
    /// And says something of its own with each reply.
    Pushes,
}

/// An echo that is late by a time of each message's own, after the messages were worked on one by one.
#[derive(Clone, Debug)]
pub struct Server {
    pub delay: Time,
    pub work: Time,
    /// Stops for the first so many nanoseconds of each period.
    pub stops: Option<(u64, u64)>,
    pub wrong: Wrong,
    /// Passes messages on to everybody but who sent them, each so many nanoseconds after the one before.
    pub passes_on: Option<u64>,
    /// How many connections it takes in all.
    pub room: usize,
    rng: Rng,
    free: u64,
    heard: u64,
}

impl Server {
    pub fn new(delay: Time, work: Time, seed: u64) -> Server {
        let rng = Rng::with_seed(seed);
        Server {
            delay,
            work,
            stops: None,
            wrong: Wrong::Nothing,
            passes_on: None,
            room: usize::MAX,
            rng,
            free: 0,
            heard: 0,
        }
    }

    fn draw(&mut self, time: Time) -> u64 {
        match time {
            Time::Fixed(ns) => ns as u64,
            Time::Exponential(mean) => (-mean * (1.0 - self.rng.f64()).ln()) as u64,
        }
    }

    /// Takes `payload`, which was there at `at` on one of so many `connections`: what it says to that.
    pub fn serve(&mut self, at: u64, connection: usize, connections: usize, payload: Vec<u8>) -> Vec<Reply> {
        self.heard += 1;
        let mut begin = at.max(self.free);
        if let Some((length, period)) = self.stops
            && begin % period < length
        {
            begin += length - begin % period;
        }
        let work = self.draw(self.work);
        self.free = begin + work;
        let mut at = self.free + self.draw(self.delay);
        if self.wrong == Wrong::Overtakes {
            at += self.rng.u64(..100_000_000);
        }
        let nth = |n: u64| self.heard.is_multiple_of(n);
        if let Some(apart) = self.passes_on {
            let others = (0..connections).filter(|other| *other != connection).enumerate();
            let mut all: Vec<Reply> = others
                .map(|(turn, connection)| {
                    let at = at + turn as u64 * apart;
                    Reply { at, connection, payload: payload.clone() }
                })
                .collect();
            self.free = all.last().map_or(self.free, |last| last.at);
            match self.wrong {
                Wrong::Drops(n) if nth(n) => drop(all.pop()),
                Wrong::Twice(n) if nth(n) => all.push(Reply { at, connection: all[0].connection, payload }),
                _ => {}
            }
            return all;
        }
        let reply = |payload: Vec<u8>| Reply { at, connection, payload };
        match self.wrong {
            Wrong::Drops(n) if nth(n) => vec![],
            Wrong::Silent if connection % 2 == 1 => vec![],
            Wrong::Twice(n) if nth(n) => vec![reply(payload.clone()), reply(payload)],
            Wrong::Changes(n) if nth(n) => {
                let mut payload = payload;
                *payload.last_mut().expect("no message is empty") ^= 1;
                vec![reply(payload)]
            }
            Wrong::Pushes => vec![reply(b"news".to_vec()), reply(payload)],
            _ => vec![reply(payload)],
        }
    }
}

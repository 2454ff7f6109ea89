//! A chain as a seed draws it: of every step there is, with arguments that leave a simulation something to see.

use fastrand::Rng;
use wsecho::proto::paths::bad_frame::BadFrame;
use wsecho::proto::paths::bad_handshake::BadHandshake;
use wsecho::proto::paths::steps::{STEPS, StepEntry, When};

/// Where a client goes, and what it brings.
pub struct Chain {
    /// With the query.
    pub path: String,
    /// More header lines.
    pub lines: String,
    /// All that its client says comes back, if it has the time for that.
    pub is_plain: bool,
    /// The frame that is wrong; empty where none is.
    pub bad_frame: Vec<u8>,
}

impl Chain {
    pub fn draw(rng: &mut Rng) -> Chain {
        let mut chain = Chain {
            path: "/ws".to_owned(),
            lines: String::new(),
            is_plain: rng.bool(),
            bad_frame: Vec::new(),
        };
        for _ in 0..rng.usize(..6) {
            chain.push(rng, false);
        }
        if !chain.is_plain && rng.u8(..12) < 9 {
            chain.push(rng, true);
        }
        if rng.bool() {
            chain.lines += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        }
        let queries = [("redirect-to", "url=%2Fecho"), ("/close/", "reason=bye")];
        let queries = queries.iter().filter(|(step, _)| chain.path.contains(step) && rng.bool());
        let queries: Vec<&str> = queries.map(|(_, query)| *query).collect();
        if !queries.is_empty() {
            chain.path += &format!("?{}", queries.join("&"));
        }
        chain
    }

    fn push(&mut self, rng: &mut Rng, is_last: bool) {
        let may_stand = |step: &&StepEntry| {
            (step.when == When::Last) == is_last && !(self.is_plain && takes_something(step.name))
        };
        let steps: Vec<&StepEntry> = STEPS.iter().filter(may_stand).collect();
        let step = *rng.choice(&steps).expect("one");
        // What is over before it has begun shows little.
        if ends_early(step.name) && rng.u8(..6) > 0 {
            return;
        }
        self.path += &format!("/{}", step.name);
        for takes in step.takes {
            if step.name == "close" && rng.bool() {
                continue;
            }
            let argument = argument(rng, step.name, takes);
            if step.name == "bad-frame" {
                BadFrame::named(&argument).expect("one of the table").write(&mut self.bad_frame);
            }
            self.path += &format!("/{argument}");
        }
        match step.name {
            "basic-auth" if rng.bool() => self.lines += "Authorization: Basic dXNlcjpwYXNz\r\n",
            "bearer" if rng.bool() => self.lines += "Authorization: Bearer token\r\n",
            _ => {}
        }
    }
}

/// Of what a client says behind such a step, not all comes back.
fn takes_something(name: &str) -> bool {
    matches!(name, "unfinished" | "limit" | "no-close" | "ping") || ends_early(name)
}

fn ends_early(name: &str) -> bool {
    matches!(
        name,
        "status"
            | "redirect"
            | "redirect-to"
            | "basic-auth"
            | "bearer"
            | "handshake-stall"
            | "bad-handshake"
            | "unfinished"
    )
}

fn argument(rng: &mut Rng, step: &str, takes: &str) -> String {
    let one = |rng: &mut Rng, of: &[&str]| (*rng.choice(of).expect("one")).to_owned();
    match (step, takes) {
        ("status", "code") => one(rng, &["200", "204", "304", "401", "503"]),
        ("close", "code") => one(rng, &["1000", "1011", "4000"]),
        ("redirect", _) => rng.usize(..3).to_string(),
        ("source", "n") => rng.usize(1..20).to_string(),
        (_, "n") => rng.usize(1..4).to_string(),
        (_, "seconds") => one(rng, &["0", "1ms", "30ms", "0.2", "2"]),
        ("repeat" | "message", "text") => "own".to_owned(),
        (_, "ms") => rng.usize(5..2_000).to_string(),
        ("source", "bytes") => rng.usize(..30_000).to_string(),
        ("fragment", _) => rng.usize(1..5_000).to_string(),
        ("trickle", _) => rng.usize(500..50_000).to_string(),
        ("limit", _) => rng.usize(50..150_000).to_string(),
        ("throttle", _) => rng.usize(2_000..200_000).to_string(),
        (_, "user") => "user".to_owned(),
        (_, "password") => "pass".to_owned(),
        (_, "token") => "token".to_owned(),
        ("header", "name") => "X-A".to_owned(),
        (_, "value") => "b".to_owned(),
        ("subprotocol", _) => "mqtt".to_owned(),
        ("deflate", _) => one(rng, &["", "server_max_window_bits%3D10;client_max_window_bits=9"]),
        ("bad-handshake", _) => {
            let names: Vec<&str> = BadHandshake::table().map(|(name, _)| name).collect();
            one(rng, &names)
        }
        ("bad-frame", _) => {
            let names: Vec<&str> = BadFrame::table().map(|(name, _)| name).collect();
            one(rng, &names)
        }
        _ => panic!("no argument is drawn for {step}/<{takes}>"),
    }
}

#[test]
fn every_step_is_drawn_and_every_chain_is_one() {
    let mut rng = Rng::with_seed(0);
    let chains: Vec<Chain> = (0..3_000).map(|_| Chain::draw(&mut rng)).collect();
    for chain in &chains {
        let (path, query) = chain.path.split_at(chain.path.find('?').unwrap_or(chain.path.len()));
        let read = wsecho::proto::paths::chain::parse(path, query, 0);
        let is_lost = path.contains("redirect-to") && !query.contains("url=");
        assert!(read.is_ok() || is_lost, "{}: {:?}", chain.path, read.err());
    }
    for step in &STEPS {
        let named = |chain: &&Chain| chain.path.split(['/', '?']).any(|part| part == step.name);
        assert!(chains.iter().filter(named).count() > 5, "{} is hardly drawn", step.name);
    }
    assert!(chains.iter().filter(|chain| chain.is_plain).count() > 1_000);
}

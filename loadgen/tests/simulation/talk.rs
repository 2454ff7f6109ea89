//! What a seed draws of a conversation: for the worker, the servers and the model, each in its own terms.

use std::sync::Arc;

use fastrand::Rng;
use loadgen::engine::conversation::{Listening, Rejoinder, Talk, Word};
use loadgen::engine::payload::{Given, Matched, Payloads};
use loadgen::engine::slow::SlowReaders;
use loadgen::engine::spec::Spec;
use loadgen::host::clock::SECOND;
use loadgen::protocol::frame::Opcode;
use loadgen::protocol::pattern::Pattern;
use loadgen::protocol::template::{Names, Template};

use crate::model::{Rules, Slow, Step, message_text};
use crate::peer::{Answers, Speech, Wall};

/// What connections keep.
const KEPT: [&str; 2] = ["token", "n"];

/// Nothing of it, unless a seed says so.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    script: Vec<Step>,
    pub speech: Speech,
    ignores: bool,
    heartbeats: bool,
    pub each: Option<u32>,
    slow: Option<Slow>,
    /// A closed loop thinks so long.
    pub think: Option<u64>,
    /// Nothing is sent, and what comes may have a time of this unit in it.
    pub listens: Option<u64>,
}

impl Conversation {
    pub fn draw(rng: &mut Rng, now: u64) -> Conversation {
        let one_in = |rng: &mut Rng, n: u8| rng.u8(..n) == 0;
        let listens = one_in(rng, 5).then(|| [1, 1_000_000][rng.usize(..2)]);
        let sends = listens.is_none();
        let token_apart = rng.bool();
        let keep = |waits| Step::KeepToken { waits };
        let script = match rng.u8(..8) {
            0 => {
                vec![Step::HearWelcome, Step::SayLogin, Step::HearOk, keep(token_apart), Step::SayJoin]
            }
            1 => vec![Step::SayLogin, Step::HearOk, keep(token_apart), Step::SayJoin, Step::HearJoined],
            2 if !token_apart => vec![Step::SayLogin, keep(true), Step::SayJoin, Step::HearJoined],
            3 => vec![Step::SayLogin, Step::SayJoin],
            4 => vec![Step::HearWelcome],
            _ => Vec::new(),
        };
        let answers = match rng.u8(..5) {
            0 => Answers::Echo,
            1 => Answers::Any,
            _ => Answers::Number,
        };
        let answers = if sends { answers } else { Answers::Echo };
        let several = answers != Answers::Echo && one_in(rng, 3);
        let seldom = |rng: &mut Rng| if rng.bool() { rng.u32(..40) } else { 0 };
        let least = [1_000_000, 5_000_000, 50_000_000][rng.usize(..3)];
        let speech = Speech {
            answers,
            replies: if several { rng.usize(2..5) } else { 1 },
            greets: script.contains(&Step::HearWelcome) || one_in(rng, 8),
            grants: script.iter().any(|step| matches!(step, Step::HearOk | Step::KeepToken { .. })),
            token_apart,
            joins: script.contains(&Step::HearJoined),
            refused: seldom(rng),
            unsaid: seldom(rng),
            pushes: (!sends || rng.bool()).then_some((least, least * 3)),
            stamps: listens,
            wall: wall(rng, now),
        };
        Conversation {
            script,
            speech,
            ignores: rng.bool(),
            heartbeats: rng.bool(),
            each: (sends && one_in(rng, 3)).then(|| rng.u32(1..20)),
            slow: one_in(rng, 3).then(|| Slow {
                one_in: [2, 4][rng.usize(..2)],
                rate: [2_000, 20_000, 200_000][rng.usize(..3)],
            }),
            think: (sends && one_in(rng, 3)).then(|| rng.u64(..40_000_000)),
            listens,
        }
    }

    /// The same for the worker.
    pub fn ask(&self, spec: &mut Spec) {
        let script: Arc<[Word]> = self.script.iter().map(|step| word(*step)).collect();
        for target in &mut spec.targets {
            target.script = script.clone();
        }
        let beat = "\"type\":\"beat\",\"n\":{n}";
        let answer = || Rejoinder { pattern: pattern(beat), keeps: vec![(0, 1)], text: template("pong {n}") };
        spec.talk = Talk {
            ignored: if self.ignores { vec![pattern("\"tick\"")] } else { Vec::new() },
            answers: if self.heartbeats { vec![answer()] } else { Vec::new() },
            kept: KEPT.len(),
        };
        let unit = if self.listens == Some(1) { "ns" } else { "ms" };
        let stamp = self.listens.map(|scale| (pattern(&format!("\"ts\":{{{unit}}}")), 0, scale));
        spec.listening = stamp.map(|stamp| Listening { stamp: Some(stamp) });
        spec.messages_each = self.each;
        spec.slow = self.slow.map(|slow| SlowReaders { share: 1.0 / slow.one_in as f64, rate: slow.rate });
        spec.matched = match self.speech.answers {
            Answers::Echo => None,
            Answers::Number => Some(Matched::Number { pattern: pattern("\"id\":{seq}"), hole: 0 }),
            Answers::Any => Some(Matched::Any),
        };
        spec.replies = self.speech.replies.max(1) as u32;
        if self.speech.answers != Answers::Echo {
            let given = Given::Filled(template(&message_text("{seq}", "{conn}", "{token}")));
            spec.payloads = Payloads::given(Opcode::Text, vec![given], &[], spec.seed);
        }
    }

    /// The same for the model.
    pub fn rule(&self, rules: &mut Rules) {
        if self.speech.answers != Answers::Echo {
            rules.opcode = 1;
        }
        rules.answers = self.speech.answers;
        rules.replies = self.speech.replies.max(1) as u32;
        (rules.script, rules.ignores, rules.heartbeats) =
            (self.script.clone(), self.ignores, self.heartbeats);
        (rules.each, rules.slow, rules.listens) = (self.each.map(|n| n as usize), self.slow, self.listens);
    }
}

/// A wall clock that is set at some time of the run, or not.
fn wall(rng: &mut Rng, now: u64) -> Wall {
    let step = if rng.bool() { rng.u64(..SECOND / 100) } else { 0 };
    Wall { offset: 1_700_000_000 * SECOND, step_at: now + rng.u64(..2 * SECOND), step }
}

fn word(step: Step) -> Word {
    match step {
        Step::SayLogin | Step::SayJoin => Word::Say(template(step.text())),
        Step::HearWelcome | Step::HearOk | Step::HearJoined => Word::Hear(pattern(step.text())),
        Step::KeepToken { waits } => Word::Keep { pattern: pattern(step.text()), hole: 0, name: 0, waits },
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

pub fn template(text: &str) -> Template {
    let mut lines = |_: &str| Err("no files".to_owned());
    let kept = KEPT.map(str::to_owned);
    Template::parse(text, &mut Names { kept: &kept, lines: &mut lines, stamp: false }).expect("a template")
}

//! What is said and heard on connections beside the messages that are timed: opening words, heartbeats, pushes.
//!
//! No I/O and no clock. A connection without opening words and without anything to keep costs nothing here.

use crate::protocol::pattern::Pattern;
use crate::protocol::template::Template;

/// One of the opening words of a connection.
#[derive(Clone, Debug)]
pub enum Word {
    /// `--hello`.
    Say(Template),
    /// `--expect`: the next message that is neither ignored nor answered has this in it.
    Hear(Pattern),
    /// `--capture`: keeps what stands in a hole.
    Keep {
        /// What stands around it.
        pattern: Pattern,
        /// Which hole of the pattern.
        hole: usize,
        /// Which of the kept values it is.
        name: usize,
        /// It waits for a message of its own; else it looks at the one that was heard just before.
        waits: bool,
    },
}

impl Word {
    fn pattern(&self) -> Option<&Pattern> {
        match self {
            Word::Say(_) => None,
            Word::Hear(pattern) | Word::Keep { pattern, .. } => Some(pattern),
        }
    }
}

/// `--answer 'PATTERN=>TEXT'`.
#[derive(Clone, Debug)]
pub struct Rejoinder {
    /// What is answered,
    pub pattern: Pattern,
    /// Hole of the pattern, and the place of what it keeps.
    pub keeps: Vec<(usize, usize)>,
    /// and with what.
    pub text: Template,
}

/// What all connections of a run have in common.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// `--ignore`.
    pub ignored: Vec<Pattern>,
    /// `--answer`.
    pub answers: Vec<Rejoinder>,
    /// How many values a connection keeps.
    pub kept: usize,
}

/// `loadgen listen`: nothing is sent, and what comes is timed.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Where the sender's clock stands in a message, and the nanoseconds of its unit.
    pub stamp: Option<(Pattern, usize, u64)>,
}

impl Listening {
    /// When `message` was sent by its stamp, nanoseconds since 1970.
    pub fn sent(&self, message: &[u8]) -> Option<u64> {
        let (pattern, hole, unit) = self.stamp.as_ref()?;
        pattern.number(message, *hole)?.checked_mul(*unit)
    }
}

/// What is done with a message that is no reply.
#[derive(Clone, Copy, Debug)]
pub enum Aside<'a> {
    /// Nothing.
    Ignored,
    /// It is answered with this.
    Answered(&'a Rejoinder),
}

impl Talk {
    /// What to do with `message`, if it is one that is ignored or answered.
    pub fn aside(&self, message: &[u8]) -> Option<Aside<'_>> {
        let answer = self.answers.iter().find(|answer| answer.pattern.is_in(message)).map(Aside::Answered);
        let ignored = || self.ignored.iter().any(|pattern| pattern.is_in(message)).then_some(Aside::Ignored);
        answer.or_else(ignored)
    }
}

/// What is to be done next on a connection that is opening.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// Send this.
    Say(&'a Template),
    /// Wait for a message that has this in it.
    Wait(&'a Pattern),
    /// The connection is open.
    Done,
}

/// How far the connections of one thread are with their opening words, and what they keep.
#[derive(Default)]
pub struct Conversations {
    states: Vec<State>,
}

#[derive(Default)]
struct State {
    step: u32,
    kept: Box<[Vec<u8>]>,
}

const _: () = assert!(size_of::<State>() == 24 && size_of::<Vec<u8>>() == 24, "the README says so");

impl Conversations {
    /// Connection `i` begins with the first word, whatever it said before.
    pub fn begin(&mut self, i: usize) {
        self.state(i).step = 0;
    }

    /// What connection `i` does next by `script`. What is to be said counts as said then.
    pub fn next<'a>(&mut self, i: usize, script: &'a [Word]) -> Next<'a> {
        let state = self.state(i);
        match script.get(state.step as usize) {
            None => Next::Done,
            Some(Word::Say(text)) => {
                state.step += 1;
                Next::Say(text)
            }
            Some(Word::Hear(pattern) | Word::Keep { pattern, .. }) => Next::Wait(pattern),
        }
    }

    /// Connection `i` hears `message`.
    ///
    /// # Errors
    /// What should have been in it.
    pub fn hear<'a>(&mut self, i: usize, script: &'a [Word], message: &[u8]) -> Result<(), &'a Pattern> {
        let mut step = self.state(i).step as usize;
        loop {
            match &script[step] {
                Word::Keep { pattern, hole, name, .. } => {
                    let value = pattern.value(message, *hole).ok_or(pattern)?;
                    self.keep(i, *name, value);
                }
                other => {
                    if let Some(pattern) = other.pattern().filter(|pattern| !pattern.is_in(message)) {
                        return Err(pattern);
                    }
                }
            }
            step += 1;
            self.state(i).step = step as u32;
            if !matches!(script.get(step), Some(Word::Keep { waits: false, .. })) {
                return Ok(());
            }
        }
    }

    /// Keeps what the pattern of `answer` finds in `message`.
    pub fn keep_for(&mut self, i: usize, answer: &Rejoinder, message: &[u8]) {
        for (hole, name) in &answer.keeps {
            if let Some(value) = answer.pattern.value(message, *hole) {
                self.keep(i, *name, value);
            }
        }
    }

    /// What connection `i` keeps, by the place of its name.
    pub fn kept(&self, i: usize) -> &[Vec<u8>] {
        self.states.get(i).map_or(&[], |state| &state.kept)
    }

    fn keep(&mut self, i: usize, name: usize, value: &[u8]) {
        let state = self.state(i);
        if state.kept.len() <= name {
            let mut kept = std::mem::take(&mut state.kept).into_vec();
            kept.resize(name + 1, Vec::new());
            state.kept = kept.into();
        }
        state.kept[name].clear();
        state.kept[name].extend_from_slice(value);
    }

    fn state(&mut self, i: usize) -> &mut State {
        if self.states.len() <= i {
            self.states.resize_with(i + 1, State::default);
        }
        &mut self.states[i]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::template::Names;

    fn text(text: &str) -> Template {
        let mut lines = |_: &str| Err("no files".to_owned());
        Template::parse(text, &mut Names { kept: &[], lines: &mut lines, stamp: false }).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn keep(text: &str, name: usize, waits: bool) -> Word {
        Word::Keep { pattern: pattern(text), hole: 0, name, waits }
    }

    /// A greeting is waited for, then two words are said, and of one answer two values are kept.
    #[test]
    fn words_are_said_and_heard_in_order() {
        let script = [
            Word::Hear(pattern("welcome")),
            Word::Say(text("login")),
            Word::Say(text("join")),
            Word::Hear(pattern("ok")),
            keep("t={t}", 0, false),
            keep("r={r}", 1, false),
            keep("late={x}", 2, true),
        ];
        let mut all = Conversations::default();
        for _ in 0..2 {
            all.begin(5);
            assert!(matches!(all.next(5, &script), Next::Wait(p) if p.text() == "welcome"));
            assert_eq!(all.hear(5, &script, b"go away").unwrap_err().text(), "welcome");
            assert_eq!(all.hear(5, &script, b"welcome!"), Ok(()));
            assert!(matches!(all.next(5, &script), Next::Say(_)));
            assert!(matches!(all.next(5, &script), Next::Say(_)));
            assert!(matches!(all.next(5, &script), Next::Wait(p) if p.text() == "ok"));
            assert_eq!(all.hear(5, &script, b"ok t=7 and no more").unwrap_err().text(), "r={r}");
            all.begin(5);
            all.hear(5, &script, b"welcome").unwrap();
            assert!(matches!(all.next(5, &script), Next::Say(_)));
            assert!(matches!(all.next(5, &script), Next::Say(_)));
            all.hear(5, &script, b"ok r=x t=7").unwrap();
            assert!(matches!(all.next(5, &script), Next::Wait(p) if p.text() == "late={x}"));
            all.hear(5, &script, b"late=9").unwrap();
            assert!(matches!(all.next(5, &script), Next::Done));
            assert_eq!(all.kept(5), [b"7".to_vec(), b"x".to_vec(), b"9".to_vec()]);
        }
        assert!(all.kept(4).is_empty() && all.kept(99).is_empty());
    }

    #[test]
    fn heartbeats_are_answered_or_ignored_and_nothing_else_is() {
        let answer = Rejoinder { pattern: pattern("ping={n}"), keeps: vec![(0, 0)], text: text("pong") };
        let talk = Talk { ignored: vec![pattern("tick"), pattern("ping")], answers: vec![answer], kept: 1 };
        assert!(matches!(talk.aside(b"a tick"), Some(Aside::Ignored)));
        assert!(matches!(talk.aside(b"ping=4"), Some(Aside::Answered(_))));
        assert!(matches!(talk.aside(b"ping"), Some(Aside::Ignored)));
        assert!(talk.aside(b"reply").is_none());
        let mut all = Conversations::default();
        all.keep_for(0, &talk.answers[0], b"ping=42");
        all.keep_for(0, &talk.answers[0], b"ping=5");
        assert_eq!(all.kept(0), [b"5".to_vec()]);
    }
}

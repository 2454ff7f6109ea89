//! What is said beside the messages that are timed, and connections that are no plain echo's: opening words, heartbeats,
//! replies that say which message they answer, churn, thinking, listening, and slow readers.

use super::*;

/// One of the opening words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    SayLogin,
    SayJoin,
    HearWelcome,
    HearOk,
    /// Out of the message just heard, or out of one of its own.
    KeepToken {
        waits: bool,
    },
    HearJoined,
}

impl Step {
    /// What is said, or has to be in what is heard.
    pub fn text(self) -> &'static str {
        match self {
            Step::SayLogin => "hello-login {conn}/{shard}",
            Step::SayJoin => "hello-join {token}",
            Step::HearWelcome => "welcome",
            Step::HearOk => "\"ok\":true",
            Step::KeepToken { .. } => "\"token\":\"{token}\"",
            Step::HearJoined => "\"joined\"",
        }
    }

    fn says(self) -> bool {
        matches!(self, Step::SayLogin | Step::SayJoin)
    }
}

/// Every so manieth connection reads so many bytes a second.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    pub one_in: usize,
    pub rate: u64,
}

impl Slow {
    pub fn has(self, number: usize) -> bool {
        number % self.one_in == self.one_in - 1
    }
}

/// A message that has places in it.
pub fn message_text(seq: &str, conn: &str, token: &str) -> String {
    format!("{{\"id\":{seq},\"c\":{conn},\"t\":\"{token}\"}}")
}

impl Connection {
    /// It begins anew. What it sent, kept and heard so far is not forgotten.
    pub(super) fn renew(&mut self, now: u64) {
        *self = Connection {
            since: now,
            away: self.away,
            token: std::mem::take(&mut self.token),
            heard_at: self.heard_at,
            free: self.free,
            out: std::mem::take(&mut self.out),
            next_index: self.next_index,
            seen: self.seen,
            busy_since: self.busy_since,
            heard: std::mem::take(&mut self.heard),
            gaps: std::mem::take(&mut self.gaps),
            ..Connection::default()
        };
    }
}

impl Model {
    /// What message `index` of connection `c` says, where it has places.
    pub(super) fn content(&self, c: usize, index: usize) -> Option<String> {
        let connection = &self.connections[c];
        let [seq, number] = [index - connection.base, self.rules.number(c)].map(|n| n.to_string());
        (self.rules.answers != Answers::Echo).then(|| message_text(&seq, &number, &connection.token))
    }

    /// Connection `c` is a WebSocket; true when the worker writes or looks at the clock next.
    pub(super) fn upgraded(&mut self, c: usize) -> bool {
        if self.rules.script.is_empty() {
            self.is_open(c);
            return !self.connections[c].blocked && self.unsent(c).is_some();
        }
        self.connections[c].step = Some(0);
        self.speak(c)
    }

    /// Says what is to be said up to the next that is to be heard; true when the worker writes or looks at the clock next.
    fn speak(&mut self, c: usize) -> bool {
        let Some(step) = self.connections[c].step else { return false };
        let rest = &self.rules.script[step..];
        let words: Vec<Vec<u8>> = rest
            .iter()
            .take_while(|step| step.says())
            .map(|step| {
                let text = step.text().replace("{conn}", &self.rules.number(c).to_string());
                let text = text.replace("{shard}", &self.rules.shard.to_string());
                text.replace("{token}", &self.connections[c].token).into_bytes()
            })
            .collect();
        let step = step + words.len();
        self.connections[c].step = Some(step);
        self.say(c, words) || self.has_spoken(c)
    }

    /// True when the worker writes these words next; else they wait behind what waits already.
    fn say(&mut self, c: usize, words: Vec<Vec<u8>>) -> bool {
        let connection = &mut self.connections[c];
        connection.speaking = if connection.blocked { 0 } else { words.len() };
        connection.words.extend(words);
        connection.speaking > 0
    }

    /// The opening words are over, which the worker's next look at the clock tells when; false if they are not.
    fn has_spoken(&mut self, c: usize) -> bool {
        let done = self.connections[c].step == Some(self.rules.script.len());
        if done {
            self.last = Last::Greeted(c);
        }
        done
    }

    /// Words were written.
    pub(super) fn spoken(&mut self, c: usize, all: bool) {
        let connection = &mut self.connections[c];
        connection.blocked = !all;
        connection.speaking = if all { connection.speaking - 1 } else { 0 };
        if connection.speaking == 0 && !self.has_spoken(c) {
            self.act(c);
        }
    }

    pub(super) fn greeted(&mut self, c: usize) {
        let took = self.clock - self.connections[c].since;
        self.opening.hello.get_or_insert_with(histogram).saturating_record(took);
        self.is_open(c);
        if self.connections[c].blocked || self.unsent(c).is_none() {
            self.act(c);
        }
    }

    /// Connection `c` is open. A closed loop goes on there if it was opened anew.
    fn is_open(&mut self, c: usize) {
        let now = self.clock;
        self.opening.opened += 1;
        self.opening.ended = now;
        let connection = &mut self.connections[c];
        (connection.open, connection.fresh, connection.step) = (true, true, None);
        connection.base = connection.next_index;
        let back = std::mem::take(&mut connection.away);
        let goes_on =
            |run: &&Run| back && run.schedule.is_none() && self.rules.listens.is_none() && now < run.to;
        if let Some(run) = self.run.as_ref().filter(goes_on) {
            // What it thought of when it left is over.
            let most = self.rules.each.map_or(run.pipeline, |each| run.pipeline.min(each as u32));
            let (pipeline, think) = (run.pipeline, run.think);
            self.thoughts.retain(|Reverse((_, who))| *who != c);
            match think {
                Some(think) => self.thoughts.extend((0..pipeline).map(|_| Reverse((now + think, c)))),
                None => self.connections[c].more = most,
            }
            self.send_more(c);
        }
    }

    /// The next of the messages that are sent for having been opened anew; false if there is none to be written.
    fn send_more(&mut self, c: usize) -> bool {
        while self.connections[c].more > 0 {
            self.connections[c].more -= 1;
            if self.rules.max_inflight.is_some_and(|most| self.connections[c].out.len() >= most as usize) {
                self.figures(self.clock).counts.capped += 1;
                continue;
            }
            self.push(c, self.clock);
            if !self.connections[c].blocked {
                return true;
            }
        }
        false
    }

    /// After a message was written or has to wait.
    pub(super) fn go_on(&mut self, c: usize) {
        if !self.send_more(c) {
            self.act(c);
        }
    }

    /// True when the worker answers the heartbeat with a write.
    pub(super) fn answer_heartbeat(&mut self, c: usize, n: u64) -> bool {
        // Behind a Close nothing is said.
        if self.connections[c].leaving || self.closes {
            return false;
        }
        self.count_if_running(|counts| counts.answered += 1);
        self.say(c, vec![format!("pong {n}").into_bytes()])
    }

    /// One of the server's opening words; true when the worker writes, looks at the clock or closes next.
    pub(super) fn word(&mut self, c: usize, spoken: &Spoken, payload: &[u8]) -> bool {
        let Some(mut step) = self.connections[c].step else {
            return self.message(c, 1, payload, None);
        };
        loop {
            let fits = match (self.rules.script[step], spoken) {
                (Step::HearWelcome, Spoken::Welcome) | (Step::HearJoined, Spoken::Joined) => true,
                (Step::HearOk, Spoken::Granted { ok, .. }) => *ok,
                (Step::KeepToken { .. }, Spoken::Granted { token: Some(token), .. }) => {
                    self.connections[c].token.clone_from(token);
                    true
                }
                _ => false,
            };
            if !fits {
                return self.mismatch(c, step);
            }
            step += 1;
            self.connections[c].step = Some(step);
            if self.rules.script.get(step) != Some(&Step::KeepToken { waits: false }) {
                return self.speak(c);
            }
        }
    }

    fn mismatch(&mut self, c: usize, step: usize) -> bool {
        let text = self.rules.script[step].text();
        let connection = &mut self.connections[c];
        connection.cause = Some(format!("hello: `{text}` was expected and something else came"));
        connection.said.clear();
        true
    }

    /// A message that is no opening word and no aside; true when the worker writes or closes next.
    pub(super) fn message(&mut self, c: usize, opcode: u8, payload: &[u8], number: Option<u64>) -> bool {
        if let Some(step) = self.connections[c].step {
            return self.mismatch(c, step);
        }
        let now = self.clock;
        if self.run.is_some() && self.rules.listens.is_some() {
            self.heard_something(c, number);
            return false;
        }
        let goes_on = self.run.is_some() && self.reply(c, opcode, payload, number);
        let connection = &self.connections[c];
        let sent_all = self.rules.each.is_some_and(|each| connection.next_index - connection.base >= each);
        if connection.open && connection.out.is_empty() && sent_all {
            self.leave_connection(c);
            return !self.connections[c].blocked;
        }
        if goes_on && !sent_all {
            self.push(c, now);
            return !self.connections[c].blocked;
        }
        false
    }

    /// Connection `c` has had its messages: it says so, and is opened anew.
    fn leave_connection(&mut self, c: usize) {
        let connection = &mut self.connections[c];
        (connection.open, connection.leaving, connection.away) = (false, true, true);
    }

    /// Connection `c` is not opened anew after all.
    pub(super) fn stays_away(&mut self, c: usize) {
        if std::mem::take(&mut self.connections[c].away) && self.run.is_some() {
            self.held_min = self.held_min.min(self.present().len() as u64);
        }
    }

    /// Who sends what connection `c` was to send, and whether it can; nobody where a closed loop waits for it to be back.
    pub(super) fn who_sends(&mut self, c: usize) -> Option<(usize, bool)> {
        let Some(each) = self.rules.each else { return Some((c, self.connections[c].open)) };
        let can = |connection: &Connection| connection.open && connection.next_index - connection.base < each;
        let run = self.run.as_ref()?;
        if run.schedule.is_none() {
            return can(&self.connections[c]).then_some((c, true));
        }
        let mut who = c;
        for _ in 0..64 {
            if can(&self.connections[who]) {
                return Some((who, true));
            }
            self.stand_in = (self.stand_in + 1) % run.order.len();
            who = run.order[self.stand_in];
        }
        Some((c, false))
    }

    /// The message of `c` whose number a reply has, if one was sent.
    pub(super) fn meant(&self, c: usize, number: Option<u64>) -> Option<usize> {
        let connection = &self.connections[c];
        let index = usize::try_from(number?).ok()?.checked_add(connection.base)?;
        Some(index).filter(|index| *index < connection.next_index)
    }

    /// Whether this is not the last of the messages that are one reply.
    pub(super) fn more_come(&mut self, c: usize, number: Option<u64>) -> bool {
        let meant = self.meant(c, number);
        let by_number = self.rules.answers == Answers::Number;
        let written = |message: &&mut Message| message.sent.is_some();
        let mut out = self.connections[c].out.iter_mut().filter(written);
        let message = match by_number {
            true => out.find(|message| Some(message.index) == meant),
            false => out.next(),
        };
        let Some(message) = message else { return false };
        message.parts += 1;
        let (due, sent, parts) = (message.due, message.sent.unwrap_or(0), message.parts);
        if parts == 1 && !self.rules.is_slow(c) {
            let at = if self.arrival.at < sent { self.arrival.read } else { self.arrival.at };
            self.figures(due).first.saturating_record(at.saturating_sub(due));
        }
        parts < self.rules.replies
    }

    /// The worker looked at the wall clock.
    pub fn on_wall(&mut self, at: u64, wall: u64) {
        self.wall_offset = wall - at;
        if let Last::Heard(c) = self.last {
            self.last = Last::Nothing;
            self.act(c);
        }
    }

    /// A message has come where nothing is sent, with the sender's time in it or without.
    fn heard_something(&mut self, c: usize, number: Option<u64>) {
        let at = self.arrival.at;
        let last = std::mem::replace(&mut self.connections[c].heard_at, at);
        let run = self.run.as_ref().expect("it runs");
        if !(run.from..run.to).contains(&at) {
            self.warmup.counts.received += u64::from(at < run.from);
            return;
        }
        let from = run.from;
        let figures = &mut self.measured;
        figures.counts.received += 1;
        figures.counts.answered_inside += 1;
        if last > from {
            figures.gap.saturating_record(at.saturating_sub(last));
        }
        let (wall, unit) = (at + self.wall_offset, self.rules.listens.unwrap_or(1));
        match number.map(|number| number * unit) {
            None => figures.counts.unsolicited += 1,
            Some(sent) if sent > wall => figures.counts.ahead += 1,
            Some(sent) => {
                figures.response.saturating_record(wall - sent);
                figures.undisturbed.saturating_record((wall - sent).saturating_sub(self.arrival.ours));
            }
        }
    }

    /// One that reads slowly reads, of no more than `room` bytes.
    pub fn on_slow_read(&mut self, c: usize, n: usize, room: usize, said: Vec<Said>, ended: Option<bool>) {
        let slow = self.rules.slow.expect("some read slowly");
        assert!(self.rules.is_slow(c) && room as u64 <= (slow.rate / 20).max(1), "{c} reads {room}");
        assert!(self.connections[c].free.is_none_or(|free| self.clock >= free), "{c} reads too soon");
        if self.run.is_some() {
            while let Some(point) = self.points.front().copied() {
                self.leave(point);
            }
        }
        self.take_in(c, said, ended);
        self.last = Last::ReadSlowly(c, n);
    }

    /// What a slow read brought is there when it is read.
    pub(super) fn read_slowly(&mut self, c: usize, n: usize) {
        let now = self.clock;
        if n > 0 {
            let rate = self.rules.slow.map_or(1, |slow| slow.rate);
            let since = self.connections[c].free.unwrap_or(now).max(now.saturating_sub(1_000_000_000));
            self.connections[c].free = Some(since + n as u64 * 1_000_000_000 / rate);
            if self.run.as_ref().is_some_and(|run| now < run.to) {
                self.figures(now).counts.slow_bytes += n as u64;
            }
        }
        self.arrival = Arrival { at: now, read: now, ours: 0, lag: 0, since: None };
        self.stamped = false;
        self.act(c);
    }
}

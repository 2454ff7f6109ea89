//! What crosses the seam between worker and network.

use super::*;

impl Model {
    pub fn on_clock(&mut self, now: u64) {
        self.clock = now;
        match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => {}
            Last::Wait { before, counts } => {
                self.looked = std::mem::replace(&mut self.woken, now);
                if counts && let Some(run) = &self.run {
                    self.measured.counts.idle_inside_ns += overlap(run, before, now);
                    self.figures(before).counts.idle_ns += now - before;
                }
            }
            Last::Read(c, n, stamp) => {
                let stamp = stamp.filter(|at| *at <= now);
                let lag = now - stamp.unwrap_or(self.woken);
                let ours = if stamp.is_some() { 0 } else { lag };
                self.arrival = Arrival { at: stamp.unwrap_or(now), read: now, ours, lag, since: None };
                self.stamped = stamp.is_some();
                if n > 0 && self.run.is_some() {
                    let figures = self.figures(now);
                    figures.read_lag.saturating_record(lag);
                    figures.counts.reads += 1;
                    figures.counts.reads_stamped += u64::from(stamp.is_some());
                    figures.counts.bytes_received += n as u64;
                }
                // Where nothing is sent, the wall clock is looked at too.
                if n == 0 || self.rules.listens.is_none() {
                    self.act(c);
                } else {
                    self.last = Last::Heard(c);
                }
            }
            Last::ReadSlowly(c, n) => self.read_slowly(c, n),
            Last::Greeted(c) => self.greeted(c),
            Last::Heard(c) => panic!("{c} is not acted upon"),
            Last::Connected(c) => {
                let since = std::mem::replace(&mut self.connections[c].since, now);
                self.opening.connect.get_or_insert_with(histogram).saturating_record(now - since);
                self.connections[c].connected = true;
            }
            Last::Emptied(c) => self.written(c),
        }
    }

    pub fn on_wait(&mut self, until: Option<u64>) {
        let all = self.connections.len() == self.asked;
        if self.asked > 0 && all && self.connections.iter().all(|c| c.open || c.gone) {
            self.asked = 0;
            self.failures = std::mem::take(&mut self.failing);
            self.opened = std::mem::take(&mut self.opening);
        }
        self.connections.iter_mut().for_each(|c| c.fresh = false);
        if self.run.is_some() {
            while let Some(point) = self.points.front().copied() {
                self.leave(point);
            }
            assert_eq!(self.ping_expected, None, "a ping was not sent");
            let run = self.run.as_ref().expect("just seen");
            let behind = match run.schedule {
                _ if run.think.is_some() => self.thoughts.peek().map(|Reverse((due, _))| *due),
                Some(_) => self.next.map(|(due, _)| due),
                None => (self.started < run.order.len()).then_some(run.begin),
            };
            let all_sent = behind.is_none_or(|due| due >= run.to);
            if self.clock >= run.until || self.clock >= run.to && all_sent && self.out <= self.abandoned {
                self.finish();
            } else if let (Some(until), Some((due, _))) = (until, self.next.filter(|(due, _)| *due < run.to))
            {
                assert!(until <= due, "the wait until {until} is longer than to the message due at {due}");
            }
            if self.rules.spin_read && self.run.is_some() && self.inflight > 0 {
                assert_eq!(until, None, "it may sleep while {} replies are due", self.inflight);
            }
        }
        self.last = Last::Wait { before: self.clock, counts: until.is_some() };
    }

    pub fn after_wait(&mut self, ready: &[Readiness]) {
        if ready.is_empty()
            && let Last::Wait { counts, .. } = &mut self.last
        {
            *counts = true;
        }
        self.points = ready.iter().map(|r| Point::Event(r.connection)).chain([Point::Turn]).collect();
        (self.handling, self.budget) = (!ready.is_empty(), IN_A_ROW);
    }

    pub fn on_connect(&mut self, c: usize, error: Option<&str>) {
        // Connecting takes time: what was due before is over.
        while let Some(point @ Point::Event(_)) = self.points.front().copied().filter(|_| self.run.is_some())
        {
            self.leave(point);
        }
        self.opening.began.get_or_insert(self.clock);
        match self.connections.get_mut(c) {
            Some(old) => old.renew(self.clock),
            None => self.connections.push(Connection { since: self.clock, ..Connection::default() }),
        }
        if let Some(error) = error {
            self.connections[c].gone = true;
            self.fails(error);
            self.stays_away(c);
        }
    }

    pub fn on_connected(&mut self, c: usize) {
        self.reach(c);
        self.last = Last::Connected(c);
    }

    pub fn on_not_connected(&mut self, c: usize) {
        self.reach(c);
    }

    /// Why the connection will be closed.
    pub fn on_cause(&mut self, c: usize, cause: &str) {
        let cause = match cause {
            cause if cause.starts_with("connect: ") => cause.to_owned(),
            cause if self.connections[c].open => format!("open: {cause}"),
            cause if self.connections[c].step.is_some() => format!("hello: {cause}"),
            cause => format!("upgrade: {cause}"),
        };
        self.connections[c].cause = Some(cause);
    }

    /// A read returned `n` bytes, which say that and perhaps begin something, with a stamp or without; or it found the end,
    /// by a reset or not.
    pub fn on_read(
        &mut self,
        c: usize,
        n: usize,
        (said, begun): (Vec<Said>, bool),
        ended: Option<bool>,
        stamp: Option<u64>,
    ) {
        self.begun = begun;
        let Connection { open, fresh, .. } = self.connections[c];
        let fast = fresh || self.closes || !self.rules.is_slow(c);
        assert!(fast || !open, "{c} reads slowly");
        self.reach(c);
        self.take_in(c, said, ended);
        self.last = Last::Read(c, n, stamp);
    }

    pub(super) fn take_in(&mut self, c: usize, said: Vec<Said>, ended: Option<bool>) {
        self.connections[c].said.extend(said);
        match ended {
            Some(true) => self.on_cause(c, "Connection reset by peer"),
            Some(false) if self.connections[c].open || self.connections[c].step.is_some() => {
                self.on_cause(c, "ended by the server without a Close");
            }
            Some(false) => self.on_cause(c, "ended by the server without an answer"),
            None => {}
        }
    }

    pub fn before_write(&mut self, c: usize, bytes: &[u8]) -> Writing {
        let connection = &self.connections[c];
        if !(connection.open || connection.leaving || connection.step.is_some()) {
            return Writing::Request;
        }
        if connection.blocked {
            self.reach(c);
            return Writing::Rest;
        }
        if connection.speaking > 0 {
            return Writing::Words;
        }
        let ends = connection.leaving || connection.cause.is_some() || self.closes;
        match bytes[0] & 0x0F {
            0x8 => {
                assert!(ends, "{c} has no reason to close");
                return Writing::Control;
            }
            0x9 => {
                while let Some(point) = self.points.front().copied() {
                    self.leave(point);
                }
                assert_eq!(self.ping_expected, Some(c), "a ping");
                return Writing::Control;
            }
            0xA => return Writing::Control,
            _ => {}
        }
        if self.unsent(c).is_some() {
            return Writing::Message;
        }
        self.take(c);
        match self.run.as_ref().is_some_and(|run| run.schedule.is_some()) {
            true => Writing::Scheduled,
            false => Writing::Message,
        }
    }

    /// The server has all of this.
    pub fn on_heard(&mut self, c: usize, heard: Heard) {
        match heard {
            Heard::Message(1, payload, _)
                if payload.starts_with(b"hello-") || payload.starts_with(b"pong ") =>
            {
                let expected = self.connections[c].words.pop_front();
                assert_eq!(Some(payload), expected, "the words of {c}");
            }
            Heard::Message(opcode, payload, wire) => self.message_arrived(c, opcode, payload, wire),
            Heard::Ping(payload) => {
                let at = u64::from_be_bytes(payload.try_into().expect("a time"));
                assert!(at <= self.clock, "a ping says when it was sent");
            }
            Heard::Pong(payload) => assert_eq!(payload, b"hi", "a pong says what the ping said"),
            Heard::Close(_) => {}
        }
    }

    /// A write came to an end; not when it was interrupted or failed.
    pub fn after_write(&mut self, c: usize, writing: Writing, all: bool) {
        match writing {
            Writing::Request => assert!(all, "a request is short"),
            Writing::Rest => {
                self.connections[c].blocked = !all;
                if all && self.unsent(c).is_some() {
                    self.last = Last::Emptied(c);
                }
            }
            Writing::Control => {
                self.connections[c].blocked = !all;
                self.ping_expected = None;
                self.act(c);
            }
            Writing::Words => self.spoken(c, all),
            Writing::Message | Writing::Scheduled => {
                self.connections[c].blocked = !all;
                if all {
                    self.written(c);
                } else if let Some(at) = self.unsent(c) {
                    self.connections[c].out[at].waited = true;
                }
                self.go_on(c);
            }
        }
    }

    pub fn on_close(&mut self, c: usize, _reset: bool) {
        self.ping_expected = None;
        let connection = &mut self.connections[c];
        connection.said.clear();
        connection.words.clear();
        (connection.speaking, connection.more) = (0, 0);
        connection.blocked = false;
        connection.gone = true;
        let cause = connection.cause.take();
        let step = connection.step.take();
        if std::mem::take(&mut connection.leaving) {
            // The end of what was to end is no failure.
            return;
        }
        let waits =
            step.map(|step| format!("hello: timed out waiting for `{}`", self.rules.script[step].text()));
        let connection = &mut self.connections[c];
        if std::mem::take(&mut connection.open) {
            self.abandoned += connection.out.len() as u64;
            if self.run.is_some() {
                self.held_min = self.held_min.min(self.present().len() as u64);
            }
        }
        let under_way = if self.connections[c].connected { "upgrade" } else { "connect" };
        self.fails(&cause.or(waits).unwrap_or(format!("{under_way}: timed out")));
        self.stays_away(c);
    }

    /// Connection `c` is being handled.
    fn reach(&mut self, c: usize) {
        if self.run.is_none() {
            return;
        }
        while self.points.front() != Some(&Point::Event(c)) || !self.handling {
            let point = self.points.front().copied();
            self.leave(point.unwrap_or_else(|| panic!("{c} was not told of")));
        }
    }

    /// Nothing more is done at `point`, which is the first.
    pub(super) fn leave(&mut self, point: Point) {
        self.handling = false;
        if let Some(c) = self.due_write() {
            panic!("at {} a message due at {:?} was not written to {c}", self.clock, self.burst);
        }
        self.points.pop_front();
        (self.handling, self.budget) = (self.points.len() > 1, IN_A_ROW);
        if point == Point::Turn {
            self.ping();
        }
    }
}

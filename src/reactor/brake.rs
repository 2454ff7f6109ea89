//! Who says much on a board waits until the others have heard it.

use super::boards::BoardId;
use super::moment::Moment;
use super::token::ConnId;
use std::time::Duration;

/// How long a member who does not take what it is told may hold up those who speak.
const PATIENCE: Duration = Duration::from_millis(50);

/// Boards on which nobody is read for now.
///
/// A member who reads all the time still needs some time to do it. So what was said is first offered to everybody's socket: only
/// when it was taken, or `PATIENCE` is over, are members read again. Who is too far behind after that does not read.
#[derive(Debug, Default)]
pub struct Brakes {
    brakes: Vec<Brake>,
}

#[derive(Debug)]
struct Brake {
    board: BoardId,
    until: Moment,
    /// Members who had not taken everything when they were told it.
    late: Vec<ConnId>,
    /// Members who have something to say.
    held: Vec<ConnId>,
}

impl Brakes {
    /// This member of the board has not taken all that it was told.
    pub fn put_on(&mut self, board: BoardId, late: ConnId, now: Moment) {
        match self.brakes.iter_mut().find(|brake| brake.board == board) {
            Some(brake) => brake.late.push(late),
            None => {
                let until = now + PATIENCE;
                self.brakes.push(Brake { board, until, late: vec![late], held: Vec::new() });
            }
        }
    }

    /// Whether there are any.
    pub fn are_on(&self) -> bool {
        !self.brakes.is_empty()
    }

    /// Whether members of the board are not to be read.
    pub fn holds(&self, board: BoardId) -> bool {
        self.brakes.iter().any(|brake| brake.board == board)
    }

    /// Has a member wait, whose board it holds.
    pub fn hold(&mut self, board: BoardId, member: ConnId) {
        let brake = self.brakes.iter_mut().find(|brake| brake.board == board);
        brake.expect("it is asked for before").held.push(member);
    }

    /// When one is to be taken off at the latest.
    pub fn next(&self) -> Moment {
        self.brakes.iter().map(|brake| brake.until).min().unwrap_or(Moment::NEVER)
    }

    /// Takes off those for which nobody `is_late` any more, or time is over: who waited.
    pub fn take_off(&mut self, now: Moment, is_late: impl Fn(ConnId) -> bool) -> Vec<ConnId> {
        let mut released = Vec::new();
        self.brakes.retain_mut(|brake| {
            while brake.late.last().is_some_and(|late| !is_late(*late)) {
                brake.late.pop();
            }
            let is_on = !brake.late.is_empty() && now < brake.until;
            if !is_on {
                released.append(&mut brake.held);
            }
            is_on
        });
        released
    }

    /// Everybody who waits.
    pub fn held(&self) -> impl Iterator<Item = &ConnId> {
        self.brakes.iter().flat_map(|brake| &brake.held)
    }
}

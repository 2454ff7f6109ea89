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
///
/// Nor are they read before everybody was told: that takes the server itself a while where a room is large.
#[derive(Debug, Default)]
pub struct Brakes {
    /// In the order of the boards.
    brakes: Vec<(BoardId, Brake)>,
}

#[derive(Debug, Default)]
struct Brake {
    until: Moment,
    /// Members who had not taken everything when they were told it.
    late: Vec<ConnId>,
    /// Members who have something to say.
    held: Vec<ConnId>,
}

impl Brakes {
    /// This member of the board has not taken all that it was told.
    pub fn put_on(&mut self, board: BoardId, late: ConnId, now: Moment) {
        self.brake(board, now).late.push(late);
    }

    /// Whether there are any.
    pub fn are_on(&self) -> bool {
        !self.brakes.is_empty()
    }

    /// Whether members of the board are not to be read.
    pub fn holds(&self, board: BoardId) -> bool {
        self.find(board).is_ok()
    }

    /// Has a member wait, whose board is not to be read.
    pub fn hold(&mut self, board: BoardId, member: ConnId, now: Moment) {
        self.brake(board, now).held.push(member);
    }

    fn brake(&mut self, board: BoardId, now: Moment) -> &mut Brake {
        let at = self.find(board).unwrap_or_else(|at| {
            self.brakes.insert(at, (board, Brake { until: now + PATIENCE, ..Brake::default() }));
            at
        });
        &mut self.brakes[at].1
    }

    /// Where the board's is, or would be.
    fn find(&self, board: BoardId) -> Result<usize, usize> {
        self.brakes.binary_search_by_key(&board, |(each, _)| *each)
    }

    /// When one is to be taken off at the latest.
    pub fn next(&self) -> Moment {
        self.brakes.iter().map(|(_, brake)| brake.until).min().unwrap_or(Moment::NEVER)
    }

    /// Takes off those for which nobody `is_late` any more, or time is over: who waited. While somebody `is_untold`, the time
    /// for hearing it has not begun.
    pub fn take_off(
        &mut self,
        now: Moment,
        is_untold: impl Fn(BoardId) -> bool,
        is_late: impl Fn(ConnId) -> bool,
    ) -> Vec<ConnId> {
        let mut released = Vec::new();
        self.brakes.retain_mut(|(board, brake)| {
            if is_untold(*board) {
                brake.until = now + PATIENCE;
                return true;
            }
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
        self.brakes.iter().flat_map(|(_, brake)| &brake.held)
    }
}

//! What the server may allocate, by what the clients have said and taken.

use super::world::World;
use support::allocator;
use wsecho::reactor::Reactor;
use wsecho::reactor::kernel::Kernel;

/// What a client may cost by its place, its alarms, and what its path under `/ws` has to remember.
const EACH: usize = 1024;
/// Room for lists that have grown, and for the answer of one turn.
const FIXED: usize = 512 << 10;
/// What one small read adds while memory is short.
const SHORT_READ: usize = 3072;
/// What one turn adds before it is seen that memory is short.
const TURN: usize = 512 << 10;

/// What the code under test had allocated before the first client came.
pub struct Bounds {
    base: isize,
    budget: usize,
    is_scarce: bool,
}

impl Bounds {
    pub fn new(budget: usize, is_scarce: bool) -> Bounds {
        Bounds { base: allocator::live(), budget, is_scarce }
    }

    /// Panics unless memory is what it may be after a tick.
    pub fn check<K: Kernel>(&self, reactor: &Reactor<K>, world: &World) {
        let live = (allocator::live() - self.base).max(0) as usize;
        let clients = reactor.connections();
        let kept = reactor.stats().memory.used();
        let each = clients * EACH + FIXED;
        assert!(live <= kept + each, "{live} bytes allocated, of which {kept} are told of");
        let owed = world.most_kept();
        assert!(kept <= owed, "{kept} bytes kept, where {owed} would do");
        if self.is_scarce {
            let most = self.budget + clients * SHORT_READ + TURN + each;
            assert!(live <= most, "{live} bytes allocated, and the budget is {}", self.budget);
        }
    }
}

//! What a round does about memory: most find nothing to do, and that is all they pay for.

use super::Reactor;
use super::kernel::Kernel;

impl<K: Kernel> Reactor<K> {
    /// Sees to memory: makes room while it is short, and gives back to the system what was needed once.
    pub(super) fn relieve(&mut self) {
        if self.shared.stats.memory.was_short() {
            self.make_room();
        }
        if self.relief.has_to_give_back(&self.shared.stats.memory, self.now) {
            self.kernel.give_back();
        }
    }

    #[cold]
    fn make_room(&mut self) {
        let Reactor { relief, connections, shared, unfinished, kernel, now, .. } = self;
        let clock = || kernel.now();
        let fallen = relief.work(connections, &mut shared.stats, unfinished, *now, clock);
        for (id, turn) in fallen {
            self.finish_turn(id, turn);
        }
    }
}

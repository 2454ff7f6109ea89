//! An allocator that counts what the code under test has allocated, and not what the test around it has.
//!
//! `#[global_allocator] static ALLOCATOR: Counting = Counting;` in the root of a test crate puts it in place. Each thread has a
//! count of its own, so tests do not disturb each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting while [`counted`] runs.
pub struct Counting;

/// Runs `code`, and counts what it allocates and frees.
pub fn counted<T>(code: impl FnOnce() -> T) -> T {
    switched(true, code)
}

/// Runs `code` inside of [`counted`] without counting: what belongs to the test.
pub fn uncounted<T>(code: impl FnOnce() -> T) -> T {
    switched(false, code)
}

/// Bytes that counted code holds now, in this thread.
pub fn live() -> isize {
    LIVE.get()
}

/// The most bytes that counted code has held since the last call of this.
pub fn take_peak() -> isize {
    PEAK.replace(LIVE.get())
}

fn switched<T>(counts: bool, code: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            COUNTS.set(self.0);
        }
    }
    let _back = Back(COUNTS.replace(counts));
    code()
}

fn count(bytes: isize) {
    if COUNTS.get() {
        LIVE.set(LIVE.get() + bytes);
        PEAK.set(PEAK.get().max(LIVE.get()));
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches nothing but this thread's cells, which
// neither allocate nor run a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(block, layout, size) }
    }
}

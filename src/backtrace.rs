//! No backtraces in the program that is shipped.
//!
//! A panic there says what and where and aborts. The standard library would walk the stack as well, if `RUST_BACKTRACE` asks for
//! it, and look for a name at each step: in a stripped binary it finds none, but its readers of ELF, DWARF, deflate and mangled
//! names are a third of that binary (211 KB of 735). They are called back from `_Unwind_Backtrace` and from nowhere else, so with
//! one that never calls back the linker leaves them out. Debug builds keep theirs, and so do static ones, in which the whole of
//! libgcc's unwinder is one object that cannot be had in part.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// `_URC_NO_REASON`: the walk came to its end.
const DONE: c_int = 0;

/// Takes the place of libgcc's function (Itanium C++ ABI, Exception Handling §1.4.2): a walk over a stack without frames.
// SAFETY: the name and the signature are those of that function, and what it promises, to call `_step` with what it finds until
// there is no more, holds for nothing found.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_step: *const c_void, _argument: *mut c_void) -> c_int {
    DONE
}

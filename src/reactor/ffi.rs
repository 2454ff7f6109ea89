//! Calls of the C library that no crate at hand makes safe: what the system tells of a socket (`TCP_INFO`, `SIOCOUTQ`,
//! `FIONREAD`), one option of it, and the allocator's giving back of memory.
//!
//! The only `unsafe` code of this crate.
#![allow(unsafe_code)]

use super::kernel::{InFlight, Vitals};
use nix::libc;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Longest time between two attempts to reach a silent peer (Linux 6.15; older systems have two minutes).
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// The fields of `struct tcp_info` that matter, by their offsets in it (linux/tcp.h, which only ever appends).
const PROBES: usize = 3;
const UNACKED: usize = 24;
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
const BYTES_ACKED: usize = 120;
const NOTSENT_BYTES: usize = 144;
const SND_WND: usize = 228;
const SIZE: usize = 232;

/// A window as small as this may be one that unread bytes have made so: Linux begins with 64 KiB, and still has as much when a
/// third of its buffer is full.
const WINDOW_LOW: u32 = 48 * 1024;
/// Unless it is a small system's, to which so little has ever been sent that it is no matter how long somebody reads it.
const SENT_LOW: u32 = 16 * 1024;

/// Asks about a TCP connection.
///
/// # Errors
/// The system's own for getsockopt(2).
pub fn tcp_vitals(socket: impl AsFd) -> io::Result<Vitals> {
    let mut info = [0u8; SIZE];
    let mut size = SIZE as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and `info` has `size` bytes. What an older system does not
    // fill in stays zero.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    let milliseconds = |at| Duration::from_millis(word(at).into());
    let acked = (u64::from(word(BYTES_ACKED)), u64::from(word(BYTES_ACKED + 4)));
    let acked = if cfg!(target_endian = "little") { acked.0 } else { acked.1 } as u32;
    // A peer that has no room for data says so, and is sent the same again, ever more seldom; that it takes for a question.
    let was_answered = word(SND_WND) == 0 || word(LAST_ACK_RECV) <= word(LAST_DATA_SENT);
    let in_flight = match (word(UNACKED), info[PROBES]) {
        (0, 0) => InFlight::Nothing,
        (1.., _) if !was_answered => InFlight::Data,
        // A question that was asked again went unanswered: nobody is there who would take data, either.
        (0, 2..) => InFlight::Data,
        _ => InFlight::Question,
    };
    let (unsent, window) = (word(NOTSENT_BYTES), word(SND_WND));
    Ok(Vitals {
        acked,
        edge: acked.wrapping_add(window),
        unsent,
        unread: unsent > 0 || (window < WINDOW_LOW && acked >= SENT_LOW),
        in_flight,
        heard: milliseconds(LAST_ACK_RECV),
        spoke: milliseconds(LAST_DATA_RECV),
    })
}

/// Asks about a Unix socket, of which the system knows how much was not read, at either end. It is never unreachable.
///
/// # Errors
/// The system's own for ioctl(2).
pub fn unix_vitals(socket: impl AsFd) -> io::Result<Vitals> {
    let ask = |request| {
        let mut answer: libc::c_int = 0;
        // SAFETY: the descriptor is open as long as `socket` is borrowed, and both requests write one `int`.
        match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request, &raw mut answer) } {
            0 => Ok(answer as u32),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let unread = ask(libc::TIOCOUTQ)?;
    let taken = 0u32.wrapping_sub(unread);
    let spoke = if ask(libc::FIONREAD)? > 0 { Duration::ZERO } else { Duration::MAX };
    Ok(Vitals {
        acked: taken,
        edge: taken,
        unsent: 0,
        unread: unread > 0,
        in_flight: InFlight::Nothing,
        heard: Duration::ZERO,
        spoke,
    })
}

/// Has connections of a listener try a silent peer again after `longest` at most, where the system can do that.
pub fn limit_retries(listener: impl AsFd, longest: Duration) {
    let milliseconds = longest.as_millis() as libc::c_int;
    // SAFETY: the descriptor is open as long as `listener` is borrowed, and the option is one `int`. An error means an older
    // system, where a peer that is gone is noticed later.
    unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const milliseconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// Has the allocator give back to the system what lies free between what is in use.
///
/// By itself it gives back only the end of its heap, and a few bytes that are in use there keep all that lies before them.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and no other thread is in the way.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator keep some of what lies free at the end of its heap for what comes next: a message of a mebibyte that waits
/// for its end would otherwise have all its memory made anew. [`give_back`] sees to more than that.
pub fn keep_some() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and comes before anything depends on it.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_not_read_of_a_unix_socket_is_seen_at_either_end() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("two descriptors");
        let before = unix_vitals(&ours).expect("a Unix socket");
        assert!(!before.unread && before.spoke == Duration::MAX && before.in_flight == InFlight::Nothing);
        ours.write_all(&[7; 10_000]).expect("room");
        let written = unix_vitals(&ours).expect("a Unix socket");
        assert!(written.unread && written.heard == Duration::ZERO);
        theirs.read_exact(&mut [0; 10_000]).expect("all of it");
        let taken = unix_vitals(&ours).expect("a Unix socket");
        assert!(!taken.unread && taken.acked.wrapping_sub(written.acked).cast_signed() > 0);
        theirs.write_all(b"x").expect("room");
        assert_eq!(unix_vitals(&ours).expect("a Unix socket").spoke, Duration::ZERO);
    }
}

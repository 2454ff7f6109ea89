//! When the kernel had what a read returns (`SO_TIMESTAMPING`, software, on reception).
//!
//! A thread reads when it is woken, which may be long after its reply was there; the kernel's stamp is from when the
//! segment came in. Of several segments in one read it is the last one's. Stamps are on the wall clock: they are mapped
//! to the monotonic one by the distance of the two, looked at after every wait.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use mio::net::TcpStream;
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SetSockOpt, TimestampingFlag, Timestamps, recvmsg, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::host::clock::{Moment, Nanos, SECOND};

/// Looks at both clocks that take longer than this were interrupted and say nothing about their distance.
const NARROW: Nanos = Nanos(5_000);

/// The distance is constant but for steps; a look is that exact.
const STEP_NS: u64 = 20_000;

/// For so long after a step no stamp is trusted: it may be from before.
const DISTRUST: Nanos = Nanos::millis(100);

/// Reads with stamps.
pub struct Stamps {
    space: Vec<u8>,
    clocks: Clocks,
}

/// The distance between the wall clock and the monotonic one.
#[derive(Default)]
struct Clocks {
    /// Wall less monotonic, nanoseconds.
    distance: Option<i128>,
    trusted_from: Moment,
    steps: u64,
}

impl Stamps {
    /// Nothing was stamped yet.
    #[expect(clippy::new_without_default, reason = "it looks at the clocks")]
    pub fn new() -> Stamps {
        let mut stamps = Stamps { space: cmsg_space!(Timestamps), clocks: Clocks::default() };
        stamps.look();
        stamps
    }

    /// Asks for stamps on `socket`. Where there are none, reads say so.
    pub fn ask(socket: &TcpStream) {
        let flags =
            TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        let _ = sockopt::Timestamping.set(socket, &flags);
    }

    /// Looks at both clocks.
    pub fn look(&mut self) {
        let (before, wall, after) = (Moment::now(), wall(), Moment::now());
        self.clocks.look(before, wall, after);
    }

    /// How often the wall clock was stepped.
    pub fn steps(&self) -> u64 {
        self.clocks.steps
    }

    /// Reads what is there, and when the kernel had it, as far as it says.
    ///
    /// # Errors
    /// As of `read`.
    pub fn read(&mut self, socket: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Option<Moment>)> {
        let mut into = [IoSliceMut::new(buffer)];
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut into, Some(&mut self.space), MsgFlags::empty())?;
        let stamp = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| match one {
                ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system),
                _ => None,
            })
        });
        Ok((message.bytes, stamp.and_then(|stamp| self.clocks.moment(nanos(stamp)))))
    }
}

impl Clocks {
    /// The wall clock showed `wall` between `before` and `after`.
    fn look(&mut self, before: Moment, wall: u64, after: Moment) {
        if after - before > NARROW {
            return;
        }
        let distance = i128::from(wall) - i128::from(before.0 + (after - before).0 / 2);
        match self.distance {
            Some(known) if (known - distance).unsigned_abs() <= u128::from(STEP_NS) => {}
            known => {
                self.distance = Some(distance);
                if known.is_some() {
                    self.steps += 1;
                    self.trusted_from = after + DISTRUST;
                }
            }
        }
        if self.trusted_from > Moment(0) && after >= self.trusted_from {
            self.trusted_from = Moment(0);
        }
    }

    /// When the wall clock showed `wall`, unless it was stepped lately.
    fn moment(&self, wall: u64) -> Option<Moment> {
        let monotonic = i128::from(wall) - self.distance.filter(|_| self.trusted_from == Moment(0))?;
        // A stamp of nothing is no stamp.
        u64::try_from(monotonic).ok().filter(|_| wall > 0).map(Moment)
    }
}

fn wall() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, nanos)
}

fn nanos(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * SECOND + time.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_mapped_by_the_distance_of_the_clocks_until_they_step() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.moment(5_000_000_000), None, "nothing is known yet");
        clocks.look(Moment(1_000_000_000), 5_000_000_100, Moment(1_000_000_200));
        assert_eq!(clocks.moment(5_000_000_500), Some(Moment(1_000_000_500)));
        assert_eq!(clocks.moment(0), None);
        // An interrupted look says nothing, and one a little off is no step.
        clocks.look(Moment(1_100_000_000), 5_900_000_000, Moment(1_101_000_000));
        clocks.look(Moment(1_200_000_000), 5_200_010_000, Moment(1_200_000_200));
        assert_eq!((clocks.steps, clocks.moment(5_000_000_500)), (0, Some(Moment(1_000_000_500))));
        // The wall clock goes back by a second.
        clocks.look(Moment(1_300_000_000), 4_300_000_100, Moment(1_300_000_200));
        assert_eq!((clocks.steps, clocks.moment(4_300_000_500)), (1, None));
        clocks.look(Moment(1_390_000_000), 4_390_000_100, Moment(1_390_000_200));
        assert_eq!(clocks.moment(4_390_000_500), None);
        clocks.look(Moment(1_500_000_000), 4_500_000_100, Moment(1_500_000_200));
        assert_eq!((clocks.steps, clocks.moment(4_500_000_500)), (1, Some(Moment(1_500_000_500))));
    }
}

//! What a service manager is told (sd_notify(3)), and how it hands over sockets (sd_listen_fds(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager at the other end of `$NOTIFY_SOCKET`, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// The manager of this process; one that cannot be reached is none.
    pub fn from_environment() -> Manager {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let address = match path.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&path),
            };
            let socket = UnixDatagram::unbound().ok()?;
            // A manager that does not read must not stop the loop.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        });
        Manager { socket }
    }

    /// Sends one notice; what cannot be sent is lost.
    pub fn tell(&self, notice: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(notice.as_bytes(), address);
        }
    }
}

/// How often to say that the loop goes round: half of `$WATCHDOG_USEC`, as sd_watchdog_enabled(3) advises.
pub fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|period| *period > 0).map(|period| Duration::from_micros(period / 2))
}

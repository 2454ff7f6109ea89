//! The system's errors in words.

/// An I/O error in the words of the system, without its number.
pub fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::EADDRNOTAVAIL as i32 => {
            format!("{text}: source ports used up (--source, net.ipv4.ip_local_port_range)")
        }
        Some(code) if code == nix::errno::Errno::EMFILE as i32 => format!("{text} (ulimit -n)"),
        _ => text.to_owned(),
    }
}

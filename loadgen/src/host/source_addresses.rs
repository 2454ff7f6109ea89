//! Which local address each connection starts from.
//!
//! One address has about 28,000 ports towards one destination. All of 127.0.0.0/8 is local without being configured, so
//! towards a loopback target further addresses are taken as needed; towards others `--source` names them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::host::address::Address;

/// The addresses connections start from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sources {
    /// Empty: the kernel chooses.
    addresses: Vec<IpAddr>,
    /// Connections an address takes before the next one's turn.
    each: usize,
}

impl Sources {
    /// Sources for `connections` to `target`; `spec` is `--source`, `range` the number of local ports.
    ///
    /// # Errors
    /// What is wrong with `spec`, or that its addresses cannot carry so many connections.
    pub fn plan(
        spec: Option<&str>,
        target: &Address,
        connections: usize,
        range: usize,
    ) -> Result<Sources, String> {
        // The kernel looks for a free port one by one: with an eighth of them taken it finds one at once, with half of
        // them it takes longer than everything else. Loopback has addresses to spare.
        let each = (range / 8).max(1);
        let addresses = match spec {
            Some(spec) => parse(spec)?,
            None if target.ip().is_some_and(|ip| ip.is_loopback() && ip.is_ipv4()) && connections > each => {
                (0..connections.div_ceil(each)).map(loopback).collect()
            }
            None => Vec::new(),
        };
        if target.ip().is_none() {
            // Nothing of the kind limits a socket in the file system.
            return Ok(Sources { addresses: Vec::new(), each });
        }
        let capacity = range * addresses.len().max(1);
        if connections > capacity {
            return Err(format!(
                "{connections} connections need more than the {capacity} ports of {} source address(es): name more \
                 with --source, or widen net.ipv4.ip_local_port_range",
                addresses.len().max(1)
            ));
        }
        let each = if spec.is_some() { connections.div_ceil(addresses.len()).max(1) } else { each };
        Ok(Sources { addresses, each })
    }

    /// The address connection number `i` starts from; `None` leaves it to the kernel.
    pub fn of(&self, i: usize) -> Option<IpAddr> {
        let n = self.addresses.len();
        (n > 0).then(|| self.addresses[i / self.each % n])
    }

    /// How many addresses are used.
    pub fn count(&self) -> usize {
        self.addresses.len().max(1)
    }
}

/// Which addresses connections from `spec`, the `--source`, can reach: those of its addresses' families.
///
/// # Errors
/// What is wrong with `spec`.
pub fn reach(spec: Option<&str>) -> Result<impl Fn(IpAddr) -> bool + use<>, String> {
    let families = match spec {
        Some(spec) => [true, false].map(|v4| parse(spec).map(|all| all.iter().any(|ip| ip.is_ipv4() == v4))),
        None => [Ok(true), Ok(true)],
    };
    let [v4, v6] = families;
    let (v4, v6) = (v4?, v6?);
    Ok(move |ip: IpAddr| if ip.is_ipv4() { v4 } else { v6 })
}

/// 127.0.0.1, 127.0.0.2, … skipping the network's and broadcast's look-alikes (.0 and .255).
fn loopback(i: usize) -> IpAddr {
    let (high, low) = (i / 254, i % 254);
    IpAddr::V4(Ipv4Addr::new(127, (high >> 8) as u8, high as u8, low as u8 + 1))
}

/// `--source`: a comma-separated list of addresses, `A-B` ranges and `A/LEN` networks.
fn parse(spec: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = |part: &str| format!("--source takes addresses, A-B ranges and A/LEN networks, not `{part}`");
    let mut out = Vec::new();
    for part in spec.split(',') {
        let v4 = |text: &str| text.parse::<Ipv4Addr>().map(u32::from).map_err(|_| wrong(part));
        let (first, last) = if let Some((a, b)) = part.split_once('-') {
            (v4(a)?, v4(b)?)
        } else if let Some((a, len)) = part.split_once('/') {
            let len =
                len.parse::<u32>().ok().filter(|len| (8..=32).contains(len)).ok_or_else(|| wrong(part))?;
            let hosts = u32::MAX.checked_shr(len).unwrap_or(0);
            let network = v4(a)? & !hosts;
            // The first and last address of a network are not hosts.
            if hosts > 1 { (network + 1, network + hosts - 1) } else { (network, network + hosts) }
        } else {
            out.push(part.parse().map_err(|_| wrong(part))?);
            continue;
        };
        if last < first {
            return Err(wrong(part));
        }
        // More than a thousand sources carry more connections than any machine holds.
        out.extend((first..=last).take(1024).map(|a| IpAddr::V4(a.into())));
    }
    Ok(out)
}

/// The number of ports in `net.ipv4.ip_local_port_range`, and its ends.
pub fn port_range() -> (usize, [u16; 2]) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let ends = [ends.next().unwrap_or(32_768), ends.next().unwrap_or(60_999)];
    (usize::from(ends[1].saturating_sub(ends[0])) + 1, ends)
}

/// Starts connecting from `source` to `target`: non-blocking, without Nagle's delay.
///
/// `IP_BIND_ADDRESS_NO_PORT` leaves the choice of a port to connect, which knows the destination and so may use the
/// same port for several of them.
///
/// # Errors
/// The system's, EADDRNOTAVAIL when the source's ports are used up.
pub fn connect(target: &Address, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let target = match target {
        Address::Tcp(target) => *target,
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, kind, None)?;
            socket.connect(&SockAddr::unix(path)?)?;
            // Reading, writing and shutting down are the same; nothing else is done with it.
            return Ok(TcpStream::from_std(OwnedFd::from(socket).into()));
        }
    };
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(e) => return Err(e),
    }
    Ok(TcpStream::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Address {
        Address::Tcp("127.0.0.1:80".parse().unwrap())
    }

    #[test]
    fn loopback_takes_as_many_addresses_as_ports_demand() {
        let few = Sources::plan(None, &local(), 1_000, 28_232).unwrap();
        assert_eq!((few.count(), few.of(0)), (1, None));
        let many = Sources::plan(None, &local(), 1_000_000, 28_232).unwrap();
        assert_eq!(many.count(), 284);
        let mut used = std::collections::HashMap::new();
        for i in 0..1_000_000 {
            *used.entry(many.of(i).unwrap()).or_insert(0) += 1;
        }
        assert!(used.values().all(|n| *n <= 28_232 / 8), "{used:?}");
        assert!(used.keys().all(|a| a.is_loopback()));
    }

    #[test]
    fn elsewhere_the_ports_are_the_limit() {
        let far = Address::Tcp("192.0.2.1:80".parse().unwrap());
        assert!(Sources::plan(None, &far, 30_000, 28_232).unwrap_err().contains("--source"));
        let two = Sources::plan(Some("192.0.2.8,192.0.2.9"), &far, 30_000, 28_232).unwrap();
        assert_eq!((two.of(0), two.of(29_999)), ("192.0.2.8".parse().ok(), "192.0.2.9".parse().ok()));
    }

    #[test]
    fn ranges_and_networks_are_spelled_out() {
        let names =
            |spec| parse(spec).map(|l| l.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(names("10.0.0.1-10.0.0.3,::1").unwrap(), "10.0.0.1 10.0.0.2 10.0.0.3 ::1");
        assert_eq!(names("10.0.0.9/30").unwrap(), "10.0.0.9 10.0.0.10");
        assert_eq!(names("10.0.0.9/32").unwrap(), "10.0.0.9");
        assert!(parse("10.0.0.0/4").is_err());
        assert!(parse("10.0.0.2-10.0.0.1").is_err());
        assert!(parse("host").is_err());
    }
}

//! What the kernel knows of a TCP connection.

use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

// `TCP_INFO` (linux/tcp.h), by the macro with which nix makes its own options.
#[derive(Clone, Copy)]
struct TcpInfo;
nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info, GetStruct<libc::tcp_info>);

/// How many segments had to be sent again on `socket` so far; none where it is no TCP.
pub fn sent_again(socket: &impl AsFd) -> u64 {
    getsockopt(socket, TcpInfo).map_or(0, |info| u64::from(info.tcpi_total_retrans))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    /// A listener whose backlog is full drops SYNs, which are sent again after a second.
    #[test]
    fn what_is_sent_again_is_counted_by_connection() {
        let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = stream();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(1).unwrap();
        let sockets: Vec<Socket> = (0..6).map(|_| stream()).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&listener.local_addr().unwrap());
        }
        let began = Instant::now();
        while sockets.iter().map(sent_again).sum::<u64>() == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing was sent again");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(sent_again(&sockets[0]), 0, "that one was taken at once");
        assert_eq!(sent_again(&Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()), 0);
    }
}

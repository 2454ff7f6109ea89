//! The floor: what any server that tells many what one has said has to do, and nothing else.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Serves 127.0.0.1 on a free port until killed; says on stderr which, in wsecho's own words.
///
/// One recv, then one send to each of the others. Nothing is kept for a listener that does not keep up: that is an error.
pub fn run() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {}", listener.local_addr()?);

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listener.as_raw_fd() as u64))?;
    let mut room: Vec<TcpStream> = Vec::new();
    let mut scratch = vec![0; 256 * 1024];
    let mut events = [EpollEvent::empty(); 1024];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            // A tracer that attaches does this.
            Err(Errno::EINTR) => 0,
            ready => ready?,
        };
        for event in &events[..ready] {
            let fd = event.data() as i32;
            if fd == listener.as_raw_fd() {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                epoll.add(&stream, EpollEvent::new(flags, stream.as_raw_fd() as u64))?;
                room.push(stream);
            } else if event.events().intersects(EpollFlags::EPOLLRDHUP) {
                room.retain(|each| each.as_raw_fd() != fd);
            } else if let Some(speaker) = room.iter_mut().find(|each| each.as_raw_fd() == fd) {
                let count = speaker.read(&mut scratch)?;
                for listener in room.iter_mut().filter(|each| each.as_raw_fd() != fd) {
                    listener.write_all(&scratch[..count])?;
                }
            }
        }
    }
}

//! The kernel and its sockets, as the reactor calls them; [`World`] decides what they say.

use super::world::World;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use support::allocator::{counted, uncounted};
use wsecho::reactor::kernel::{Kernel, Notice, Readiness, Stream, Vitals};
use wsecho::reactor::moment::Moment;
use wsecho::reactor::token::ConnId;

/// A kernel with its clients and its clock, none of them real.
pub struct Scripted(pub Rc<RefCell<World>>);

/// The server's end of one connection.
pub struct Socket {
    world: Rc<RefCell<World>>,
    index: usize,
}

impl Kernel for Scripted {
    type Stream = Socket;

    fn poll(&mut self, timeout: Option<Duration>, mut on_event: impl FnMut(Readiness)) -> io::Result<()> {
        uncounted(|| {
            let events = self.0.borrow_mut().poll(timeout)?;
            events.into_iter().for_each(|event| counted(|| on_event(event)));
            Ok(())
        })
    }

    fn now(&self) -> Moment {
        Moment(1000 * self.0.borrow().now)
    }

    fn accept(&mut self, listener: usize) -> io::Result<Socket> {
        let index = uncounted(|| self.0.borrow_mut().accept(listener))?;
        Ok(Socket { world: self.0.clone(), index })
    }

    fn register(&mut self, stream: &mut Socket, id: ConnId) -> io::Result<()> {
        uncounted(|| self.0.borrow_mut().register(stream.index, id))
    }

    fn close_listener(&mut self, listener: usize) {
        uncounted(|| self.0.borrow_mut().close_listener(listener));
    }

    fn give_back(&mut self) {}

    fn notify(&mut self, _: Notice) {}
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        uncounted(|| self.world.borrow_mut().read(self.index, buf))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uncounted(|| self.world.borrow_mut().write(self.index, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&self) -> io::Result<()> {
        uncounted(|| self.world.borrow_mut().shutdown_write(self.index));
        Ok(())
    }

    fn reset(&self) -> io::Result<()> {
        uncounted(|| self.world.borrow_mut().reset(self.index));
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn vitals(&self) -> Vitals {
        self.world.borrow().vitals(self.index)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        uncounted(|| self.world.borrow_mut().close(self.index));
    }
}

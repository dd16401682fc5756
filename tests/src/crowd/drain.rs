//! Who reads the sockets of cameras and throws away what comes: the least that receiving can cost.
//!
//! One thread asks the kernel which sockets have something, and reads each once, 64 KiB at most. It looks as often as it is told
//! to, or whenever something comes.

use super::handshake;
use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

const READ_BYTES: usize = 64 << 10;

/// Reads so many cameras of the server at this port, for ever, or until one is gone.
pub fn run(port: u16, cameras: usize, pause: Duration) -> Result<()> {
    let sockets: Vec<TcpStream> =
        (0..cameras).map(|number| handshake::play(port, &format!("cam{number}"))).collect::<Result<_>>()?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    for (number, socket) in (0..).zip(&sockets) {
        socket.set_nonblocking(true)?;
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut events = vec![EpollEvent::empty(); cameras.max(1)];
    loop {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in events.iter().take(count) {
            let Some(mut socket) = usize::try_from(event.data()).ok().and_then(|n| sockets.get(n)) else {
                continue;
            };
            match socket.read(&mut buffer) {
                Ok(0) => bail!("a camera is gone"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

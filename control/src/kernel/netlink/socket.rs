//! Route netlink sockets: one that listens, others that ask.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tokio::io::unix::AsyncFd;

use super::attribute::{Message, Messages, u32_at};
use super::request::Request;

/// RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE, NEXTHOP.
const GROUPS: u32 =
    group(1) | group(3) | group(5) | group(7) | group(8) | group(9) | group(11) | group(19) | group(32);
/// Room for what arrives while a snapshot is built: some 60,000 notifications. Memory is taken only as needed.
const LISTEN_BUFFER: usize = 64 << 20;
/// The largest datagram: dumps fill at most what we offer, notifications are one object each.
const DATAGRAM: usize = 1 << 17;

pub(in crate::kernel) const NLMSG_ERROR: u16 = 2;
pub(in crate::kernel) const NLMSG_DONE: u16 = 3;

const fn group(number: u32) -> u32 {
    1 << (number - 1)
}

/// An asynchronous socket with its own receive buffer.
pub(in crate::kernel) struct Socket {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

/// Why a datagram could not be had.
#[derive(Debug)]
pub(in crate::kernel) enum ReceiveError {
    /// Messages were lost: only a dump tells the truth again.
    Overrun,
    /// The socket is broken.
    Io(io::Error),
}

impl Socket {
    /// Subscribes to every group the relay follows.
    #[allow(
        deprecated,
        reason = "its replacement is unsafe, which this crate forbids; what it asks for holds: an OwnedFd, never replaced"
    )]
    pub(in crate::kernel) fn listen() -> io::Result<Self> {
        let fd = open(SocketFlags::NONBLOCK)?;
        if sockopt::set_socket_recv_buffer_size_force(&fd, LISTEN_BUFFER).is_err() {
            // Without CAP_NET_ADMIN in the first user namespace: take what the system allows.
            sockopt::set_socket_recv_buffer_size(&fd, LISTEN_BUFFER)?;
        }
        net::bind(&fd, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { fd: AsyncFd::new(fd)?, buffer: vec![0; DATAGRAM] })
    }

    /// Waits for the next datagram of the kernel. Cancel-safe.
    pub(in crate::kernel) async fn receive(&mut self) -> Result<&[u8], ReceiveError> {
        loop {
            let mut guard = self.fd.readable().await.map_err(ReceiveError::Io)?;
            match receive_now(self.fd.get_ref(), &mut self.buffer) {
                Ok(Some(length)) => return Ok(&self.buffer[..length]),
                Ok(None) => guard.clear_ready(),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next datagram, if one is waiting.
    pub(in crate::kernel) fn try_receive(&mut self) -> Result<Option<&[u8]>, ReceiveError> {
        let length = receive_now(self.fd.get_ref(), &mut self.buffer)?;
        Ok(length.map(|length| &self.buffer[..length]))
    }
}

/// A socket whose answers come in many datagrams. Blocks.
pub(in crate::kernel) struct AskingSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl AskingSocket {
    /// Opens it.
    pub(in crate::kernel) fn new() -> io::Result<Self> {
        Ok(Self { fd: open(SocketFlags::empty())?, buffer: vec![0; DATAGRAM] })
    }

    /// Sends a request whose answer is received with [`Self::receive`].
    pub(in crate::kernel) fn send(&self, request: Request) -> io::Result<()> {
        net::send(&self.fd, &request.bytes(), SendFlags::empty())?;
        Ok(())
    }

    /// Waits for the next datagram of the kernel.
    pub(in crate::kernel) fn receive(&mut self) -> io::Result<&[u8]> {
        match receive_now(&self.fd, &mut self.buffer) {
            Ok(Some(length)) => Ok(&self.buffer[..length]),
            Ok(None) => Err(Errno::AGAIN.into()),
            Err(ReceiveError::Overrun) => Err(io::Error::other("the kernel's answer was cut short")),
            Err(ReceiveError::Io(error)) => Err(error),
        }
    }
}

/// Sends one request and waits for its acknowledgement. rtnetlink works inside the system call that sends, so the
/// acknowledgement is there when it returns: this blocks no longer than the kernel takes to do what was asked, and to get at the
/// lock for it. Not for the control thread once it runs.
pub(in crate::kernel) fn call(request: Request) -> io::Result<()> {
    Caller::new()?.call(request)
}

/// A kept socket for [`call`]s in a row.
pub(in crate::kernel) struct Caller {
    fd: OwnedFd,
}

impl Caller {
    /// Opens it.
    pub(in crate::kernel) fn new() -> io::Result<Self> {
        Ok(Self { fd: open(SocketFlags::empty())? })
    }

    /// See [`call`].
    pub(in crate::kernel) fn call(&self, request: Request) -> io::Result<()> {
        net::send(&self.fd, &request.bytes(), SendFlags::empty())?;
        let mut buffer = [0; 4096];
        loop {
            let (_, length, sender) = net::recvfrom(&self.fd, &mut buffer, RecvFlags::empty())?;
            if !from_kernel(sender.as_ref()) {
                continue;
            }
            let acknowledged =
                Messages(&buffer[..length.min(4096)]).find(|message| message.kind == NLMSG_ERROR);
            if let Some(message) = acknowledged {
                return error_of(message.payload);
            }
        }
    }
}

/// Room for the description of one interface.
const ANSWER: usize = 1 << 16;

impl Caller {
    /// Sends one request whose answer is one message; its payload.
    pub(in crate::kernel) fn ask(&self, request: Request) -> io::Result<Vec<u8>> {
        net::send(&self.fd, &request.bytes(), SendFlags::empty())?;
        let mut buffer = vec![0; ANSWER];
        loop {
            let (_, length, sender) = net::recvfrom(&self.fd, &mut *buffer, RecvFlags::empty())?;
            if !from_kernel(sender.as_ref()) {
                continue;
            }
            if let Some(message) = Messages(&buffer[..length.min(ANSWER)]).next() {
                if message.kind == NLMSG_ERROR {
                    error_of(message.payload)?;
                }
                return Ok(message.payload.to_vec());
            }
        }
    }
}

/// Sends one request for a short dump and hands over its records. Blocks no longer than the kernel takes to make it.
pub(in crate::kernel) fn short_dump(request: Request, mut each: impl FnMut(Message<'_>)) -> io::Result<()> {
    let mut socket = AskingSocket::new()?;
    socket.send(request)?;
    loop {
        for message in Messages(socket.receive()?) {
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => return error_of(message.payload),
                _ => each(message),
            }
        }
    }
}

/// The verdict in an NLMSG_ERROR or NLMSG_DONE payload.
pub(in crate::kernel) fn error_of(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0).map_or(0, u32::cast_signed) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

fn open(extra: SocketFlags) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | extra;
    // No protocol number is NETLINK_ROUTE: zero.
    Ok(net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?)
}

/// Other processes may send to a netlink port: only the kernel's own messages count.
fn from_kernel(sender: Option<&net::SocketAddrAny>) -> bool {
    sender
        .and_then(|sender| SocketAddrNetlink::try_from(sender.clone()).ok())
        .is_some_and(|sender| sender.pid() == 0)
}

fn receive_now(fd: &OwnedFd, buffer: &mut [u8]) -> Result<Option<usize>, ReceiveError> {
    loop {
        match net::recvfrom(fd, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length, sender)) if from_kernel(sender.as_ref()) => {
                return if length > buffer.len() { Err(ReceiveError::Overrun) } else { Ok(Some(length)) };
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::NOBUFS) => return Err(ReceiveError::Overrun),
            Err(error) => return Err(ReceiveError::Io(error.into())),
        }
    }
}

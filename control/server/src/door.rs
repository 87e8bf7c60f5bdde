//! Where connections come from: the control socket, or TCP.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::relay::Peer;

/// Who connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest {
    /// What connections of the same client have in common: they share the room one client may have.
    pub(crate) key: u32,
    /// The process, where the kernel knows it.
    pub(crate) peer: Option<Peer>,
}

/// A listening socket.
pub(crate) trait Door: 'static {
    /// What it is called in messages.
    const NAME: &'static str;
    /// Its connections.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next one.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Who it is; none when he has gone again.
    fn guest(stream: &Self::Stream) -> Option<Guest>;

    /// Writes what there is room for.
    fn write_some(stream: &Self::Stream, bytes: &[u8]);

    /// What tells whether he has left, where the kernel tells that from having said everything.
    fn line(stream: &Self::Stream) -> Option<OwnedFd>;
}

/// The control socket.
pub(crate) struct UnixDoor(UnixListener);

impl UnixDoor {
    /// Needs a tokio runtime.
    pub(crate) fn new(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        UnixListener::from_std(socket).map(Self)
    }
}

impl Door for UnixDoor {
    const NAME: &'static str = "the control socket";
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    fn guest(stream: &UnixStream) -> Option<Guest> {
        let credentials = stream.peer_cred().ok()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let peer = Peer { uid: credentials.uid(), pid };
        Some(Guest { key: peer.uid, peer: Some(peer) })
    }

    fn write_some(stream: &UnixStream, bytes: &[u8]) {
        let _ = stream.try_write(bytes);
    }

    fn line(stream: &UnixStream) -> Option<OwnedFd> {
        stream.as_fd().try_clone_to_owned().ok()
    }
}

/// A TCP socket.
pub(crate) struct TcpDoor(TcpListener);

impl TcpDoor {
    /// Needs a tokio runtime. The socket does not block.
    pub(crate) fn new(socket: std::net::TcpListener) -> io::Result<Self> {
        TcpListener::from_std(socket).map(Self)
    }
}

impl Door for TcpDoor {
    const NAME: &'static str = "the socket for metrics";
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    /// One client is an IPv4 address, or an IPv6 network.
    fn guest(stream: &TcpStream) -> Option<Guest> {
        let key = match stream.peer_addr().ok()?.ip().to_canonical() {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => {
                let [.., a, b, _, _, _, _] = address.segments();
                u32::from(a) << 16 | u32::from(b)
            }
        };
        Some(Guest { key, peer: None })
    }

    fn write_some(stream: &TcpStream, bytes: &[u8]) {
        let _ = stream.try_write(bytes);
    }

    fn line(_: &TcpStream) -> Option<OwnedFd> {
        None
    }
}

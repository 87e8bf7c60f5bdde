//! Frames as they are on the wire, sent and received through a packet socket.

use std::io::ErrorKind;
use std::os::fd::IntoRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};

use super::{LabError, Namespace};

/// Bytes that wait to be received, with what the kernel adds to each frame: some 10,000 small ones, so that a test which does
/// not get a processor for a while misses none.
const WAITING: usize = 8 << 20;

/// A packet socket on one interface.
pub struct RawLink {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    mac: [u8; 6],
}

impl RawLink {
    /// Opens one. It hears everything from now on, also what its own kernel sends.
    ///
    /// # Errors
    /// When the interface does not exist.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self, LabError> {
        let name = interface.to_owned();
        let opened = namespace.enter(move || {
            let found = pnet_datalink::interfaces().into_iter().find(|it| it.name == name);
            let found = found.ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
            channel(&found).map(|channel| (channel, found))
        });
        let (channel, found) = opened.map_err(LabError::io(format!("packet socket on {interface}")))?;
        let Channel::Ethernet(sender, receiver) = channel else {
            return Err(LabError::Unreadable { what: "packet socket".into(), text: "not Ethernet".into() });
        };
        Ok(Self { sender, receiver, mac: found.mac.map_or([0; 6], |mac| mac.octets()) })
    }

    /// The interface's own address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Sends one frame exactly as given; false when the kernel refuses it (too short, too long).
    pub fn send(&mut self, frame: &[u8]) -> bool {
        matches!(self.sender.send_to(frame, None), Some(Ok(())))
    }

    /// The next frame, if one comes soon.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        self.receiver.next().ok().map(<[u8]>::to_vec)
    }

    /// Listens until `enough` says so, or the time is over; true when enough came.
    pub fn listen(&mut self, patience: Duration, mut enough: impl FnMut(&[u8]) -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < patience {
            if self.receive().is_some_and(|frame| enough(&frame)) {
                return true;
            }
        }
        false
    }
}

fn channel(interface: &NetworkInterface) -> std::io::Result<Channel> {
    let opened = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    setsockopt(&opened, sockopt::RcvBufForce, &WAITING)?;
    let config = Config {
        read_buffer_size: 65536,
        write_buffer_size: 65536,
        read_timeout: Some(Duration::from_millis(50)),
        socket_fd: Some(opened.into_raw_fd()),
        ..Config::default()
    };
    pnet_datalink::channel(interface, config)
}

//! The kernel twin of a port: a TAP interface with the port's MAC and MTU.
//!
//! What the kernel sends on it leaves by the port, what is punted on the port arrives on it. It lives as long as the
//! [`Twin`]: when the process ends, however it ends, the interface is gone, routing daemons withdraw what they
//! announced over it, and nothing is left to clean up. Addresses, sysctls and VLANs on it are the operator's.
//!
//! No packet information, no virtio header, no offloads: the kernel hands over plain Ethernet frames with complete
//! checksums, at most one MTU long.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dataplane::table::routing::{MacAddress, PortId};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, netdevice};

use super::facts::InterfaceFactsReader;
use super::interfaces::TwinSettings;
use super::netlink::request::Request;
use super::netlink::socket;
use super::tap::Tap;

/// Twins are named after their port, with this in front.
pub const PREFIX: &str = "bl-";
/// IFNAMSIZ without its terminating zero.
const NAME_MAX: usize = 15;

/// Why a twin could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// The port's name does not fit.
    #[error(
        "port name {port:?} is too long: its twin would be called {PREFIX}{port}, and Linux takes 15 bytes; \
         choose a name of at most 12 bytes"
    )]
    NameTooLong {
        /// The port's name.
        port: String,
    },
    /// The port's name is no interface name.
    #[error("port name {port:?} cannot be an interface name: use letters, digits, '-', '_' and '.'")]
    NameInvalid {
        /// The port's name.
        port: String,
    },
    /// The interface exists.
    #[error(
        "interface {name} exists: is another borderline running? `ip -d link show {name}` tells what it is; \
         stop the other one, rename the port, or remove a leftover with `ip link del {name}`"
    )]
    NameInUse {
        /// Name of the twin.
        name: String,
    },
    /// No TAP support.
    #[error(
        "cannot open /dev/net/tun: {source}; load the module (`modprobe tun`), or give the container the device"
    )]
    NoTunDevice {
        /// What the kernel said.
        source: io::Error,
    },
    /// No privileges.
    #[error(
        "not permitted to create interface {name}: run as root or with CAP_NET_ADMIN \
             (in a container: with access to /dev/net/tun as well)"
    )]
    NotPermitted {
        /// Name of the twin.
        name: String,
    },
    /// The kernel refused something else.
    #[error("cannot create interface {name}: {source}")]
    Create {
        /// Name of the twin.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// MAC or MTU do not suit the kernel.
    #[error("interface {name} does not take MAC {mac:02x?} and MTU {mtu}: {source}; check the port's mtu")]
    Configure {
        /// Name of the twin.
        name: String,
        /// The port's MAC.
        mac: [u8; 6],
        /// The port's MTU.
        mtu: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Carrier could not be changed.
    #[error(
        "cannot set the carrier of interface {name}: {source}; was it moved to another namespace or removed?"
    )]
    Carrier {
        /// Name of the twin.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A TAP interface that stands for a port.
pub struct Twin {
    name: String,
    settings: TwinSettings,
    behind: Option<String>,
    device: Arc<Tap>,
}

impl Twin {
    /// Creates the interface in the namespace of the calling thread and brings it up, without carrier: until the port's link
    /// is up the kernel shall send nothing.
    ///
    /// Asynchronous only because the device registers with the runtime it is created in.
    ///
    /// # Errors
    /// [`TwinError`] says what is missing and how to get it.
    #[expect(clippy::unused_async, reason = "the device must be registered with a running runtime")]
    pub async fn create(port_name: &str, port: PortId, mac: MacAddress, mtu: u16) -> Result<Self, TwinError> {
        let name = checked_name(port_name)?;
        if interface_index(&name).is_some() {
            // TUNSETIFF would take over a persistent TAP of that name, and leave it behind.
            return Err(TwinError::NameInUse { name });
        }
        let device = open(tokio_tun::Tun::builder().tap(), &name)?;
        let Some(index) = interface_index(&name) else {
            return Err(TwinError::Create { name, source: io::Error::from(Errno::NODEV) });
        };
        let settings = TwinSettings { index, port, mtu };
        let twin = Self { name, settings, behind: None, device: Arc::new(Tap::made(device)) };
        twin.set_carrier(false)?;
        twin.bring_up(mac)?;
        tracing::info!(interface = twin.name, port = port.0, mtu, "twin created");
        Ok(twin)
    }

    /// The interface of a process that is gone, from its open file: with its addresses, routes and carrier, as if nothing had
    /// happened.
    ///
    /// # Errors
    /// [`TwinError`], when somebody has removed or renamed it, or the kernel refuses MAC or MTU.
    #[expect(clippy::unused_async, reason = "the device must be registered with a running runtime")]
    pub async fn take_over(
        port_name: &str,
        port: PortId,
        mac: MacAddress,
        mtu: u16,
        file: OwnedFd,
    ) -> Result<Self, TwinError> {
        let name = checked_name(port_name)?;
        let failed = |name: &str, source| TwinError::Create { name: name.to_owned(), source };
        let Some(index) = interface_index(&name) else {
            return Err(failed(&name, io::Error::from(Errno::NODEV)));
        };
        let device = Tap::inherited(file).map_err(|source| failed(&name, source))?;
        let settings = TwinSettings { index, port, mtu };
        let twin = Self { name, settings, behind: None, device: Arc::new(device) };
        // To set the same address once more has the kernel forget all neighbours.
        let facts = InterfaceFactsReader::new().and_then(|reader| reader.read(&twin.name)).ok().flatten();
        if !facts.is_some_and(|facts| facts.mac == Some(mac.0) && facts.mtu == u32::from(mtu)) {
            twin.bring_up(mac)?;
        }
        tracing::info!(interface = twin.name, port = port.0, mtu, "twin taken over");
        Ok(twin)
    }

    fn bring_up(&self, mac: MacAddress) -> Result<(), TwinError> {
        let TwinSettings { index, mtu, .. } = self.settings;
        socket::call(Request::bring_up(index, mac, mtu)).map_err(|source| TwinError::Configure {
            name: self.name.clone(),
            mac: mac.0,
            mtu,
            source,
        })
    }

    /// Its open file, for whoever gives it to a process that is to take over.
    #[must_use]
    pub fn device(&self) -> &Arc<Tap> {
        &self.device
    }

    /// Whether the twin of a port could get its name.
    ///
    /// # Errors
    /// [`TwinError`] says why not.
    pub fn check_name(port_name: &str) -> Result<(), TwinError> {
        let name = checked_name(port_name)?;
        if interface_index(&name).is_some() { Err(TwinError::NameInUse { name }) } else { Ok(()) }
    }

    /// The same for a port whose driver sits on this kernel interface and does not know its state.
    #[must_use]
    pub fn before(self, interface: Option<String>) -> Self {
        Self { behind: interface, ..self }
    }

    /// The kernel interface behind the port.
    #[must_use]
    pub fn behind(&self) -> Option<&str> {
        self.behind.as_deref()
    }

    /// Name of the interface at its creation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port it stands for.
    #[must_use]
    pub fn port(&self) -> PortId {
        self.settings.port
    }

    /// What the follower of the kernel's state needs to know of it.
    #[must_use]
    pub fn settings(&self) -> TwinSettings {
        self.settings
    }

    /// Passes the port's link state on: without carrier the kernel and routing daemons see the interface as down.
    ///
    /// # Errors
    /// [`TwinError::Carrier`] when the interface is gone.
    pub fn set_carrier(&self, carrier: bool) -> Result<(), TwinError> {
        socket::call(Request::carrier(self.settings.index, carrier))
            .map_err(|source| TwinError::Carrier { name: self.name.clone(), source })
    }

    /// The next frame the kernel sends. Cancel-safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.receive(buffer).await
    }

    /// Gives a frame to the kernel, which takes or refuses it at once.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.device.send(frame)
    }
}

fn checked_name(port: &str) -> Result<String, TwinError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if port.is_empty() || !port.chars().all(valid) {
        return Err(TwinError::NameInvalid { port: port.to_owned() });
    }
    let name = format!("{PREFIX}{port}");
    if name.len() > NAME_MAX {
        return Err(TwinError::NameTooLong { port: port.to_owned() });
    }
    Ok(name)
}

/// A TUN interface: packets without a link layer.
pub(super) fn open_tun(name: &str) -> Result<tokio_tun::Tun, TwinError> {
    open(tokio_tun::Tun::builder(), name)
}

fn open(builder: tokio_tun::TunBuilder, name: &str) -> Result<tokio_tun::Tun, TwinError> {
    let failed = |error: tokio_tun::Error| {
        let source = match error {
            tokio_tun::Error::IoError(source) => source,
            tokio_tun::Error::NixError(errno) => io::Error::from(errno),
        };
        create_error(name, source)
    };
    let mut queues = builder.name(name).build().map_err(failed)?;
    Ok(queues.pop().expect("one queue was asked for"))
}

/// Opening the device and creating the interface fail with different error numbers.
fn create_error(name: &str, source: io::Error) -> TwinError {
    let name = name.to_owned();
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::ACCESS) => TwinError::NoTunDevice { source },
        Some(Errno::PERM) => TwinError::NotPermitted { name },
        Some(Errno::BUSY | Errno::EXIST | Errno::INVAL) => TwinError::NameInUse { name },
        _ => TwinError::Create { name, source },
    }
}

pub(super) fn interface_index(name: &str) -> Option<u32> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_linux_refuses_are_refused_with_the_remedy() {
        assert_eq!(checked_name("v4").unwrap(), "bl-v4");
        assert_eq!(checked_name("twelve-bytes").unwrap(), "bl-twelve-bytes");
        let long = checked_name("thirteen-byte").unwrap_err();
        assert!(long.to_string().contains("at most 12 bytes"), "{long}");
        for bad in ["", "a/b", "a b", "ä", "a%d"] {
            assert!(matches!(checked_name(bad), Err(TwinError::NameInvalid { .. })), "{bad:?}");
        }
    }

    #[test]
    fn error_numbers_become_remedies() {
        let of = |errno: Errno| create_error("bl-v4", errno.into()).to_string();
        assert!(of(Errno::PERM).contains("CAP_NET_ADMIN"));
        assert!(of(Errno::NOENT).contains("modprobe tun"));
        assert!(of(Errno::BUSY).contains("is another borderline running?"));
    }
}

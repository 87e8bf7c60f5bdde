//! What of a virtual device can be checked before DPDK is asked. DPDK answers much of this with a bare number, and a
//! socket path that it cannot bind it deletes, whoever listens there.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::device::Device;
use super::error::PortError;

/// Where `net_memif` meets its peer when it is not told.
const MEMIF_SOCKET: &str = "/run/memif.sock";

/// Refuses a device that lacks a file, a directory, an interface or a peer, or that wants the socket of another process.
/// A socket that is left over from a process that is gone is removed, as any daemon does.
pub(super) fn check(text: &str, device: Device<'_>) -> Result<(), PortError> {
    look_and(text, device, remove)
}

/// The same, without removing anything.
pub(super) fn look(text: &str, device: Device<'_>) -> Result<(), PortError> {
    look_and(text, device, |_| Ok(()))
}

fn look_and(
    text: &str,
    device: Device<'_>,
    remove: impl FnOnce(&str) -> io::Result<()>,
) -> Result<(), PortError> {
    if let Some(interface) = device.missing_interface() {
        return Err(PortError::NoSuchInterface { device: text.to_owned(), interface: interface.to_owned() });
    }
    for file in device.arguments("rx_pcap").filter(|_| device.driver() == Some("net_pcap")) {
        file_exists(text, file)?;
    }
    for file in device.arguments("tx_pcap").filter(|_| device.driver() == Some("net_pcap")) {
        directory_exists(text, file)?;
    }
    match socket(device) {
        Some(Socket { path, listens: true }) => may_listen(text, path, remove),
        Some(Socket { path, listens: false }) => somebody_listens(text, path),
        None => Ok(()),
    }
}

/// The socket of a device, if it has one in the file system.
struct Socket<'a> {
    path: &'a str,
    /// Whether the device listens there, rather than its peer.
    listens: bool,
}

fn socket(device: Device<'_>) -> Option<Socket<'_>> {
    let is = |key, value| device.argument(key) == Some(value);
    let (path, listens) = match device.driver()? {
        "net_vhost" => (device.argument("iface")?, !is("client", "1")),
        "net_virtio_user" => (device.argument("path")?, is("server", "1")),
        "net_memif" if is("socket-abstract", "no") => {
            (device.argument("socket").unwrap_or(MEMIF_SOCKET), is("role", "server") || is("role", "master"))
        }
        _ => return None,
    };
    Some(Socket { path, listens })
}

fn may_listen(
    device: &str,
    path: &str,
    remove: impl FnOnce(&str) -> io::Result<()>,
) -> Result<(), PortError> {
    directory_exists(device, path)?;
    let is_socket = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(metadata) => metadata.file_type().is_socket(),
    };
    if !is_socket {
        return Err(PortError::NotASocket { device: device.to_owned(), path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => remove(path).map_err(|error| {
            PortError::LeftOver { device: device.to_owned(), path: path.to_owned(), reason: error.kind() }
        }),
        _ => Err(PortError::SocketInUse { device: device.to_owned(), path: path.to_owned() }),
    }
}

fn remove(path: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn somebody_listens(device: &str, path: &str) -> Result<(), PortError> {
    directory_exists(device, path)?;
    if Path::new(path).exists() {
        return Ok(());
    }
    Err(PortError::NobodyListens { device: device.to_owned(), path: path.to_owned() })
}

fn file_exists(device: &str, file: &str) -> Result<(), PortError> {
    if Path::new(file).exists() {
        return Ok(());
    }
    Err(PortError::NoSuchFile { device: device.to_owned(), file: file.to_owned() })
}

fn directory_exists(device: &str, file: &str) -> Result<(), PortError> {
    let directory = match Path::new(file).parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if directory.is_dir() {
        return Ok(());
    }
    let directory = directory.display().to_string();
    Err(PortError::NoSuchDirectory { device: device.to_owned(), directory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    /// A directory of the test's own.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("bl-precheck-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a writable directory");
            Self(path)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).display().to_string()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn checked(text: &str) -> Result<(), PortError> {
        check(text, Device::parse(text).expect("a device"))
    }

    /// All who listen, by driver and role, and who does not.
    fn listeners(path: &str) -> [String; 3] {
        [
            format!("net_vhost0,iface={path}"),
            format!("net_virtio_user0,path={path},server=1"),
            format!("net_memif0,role=server,socket={path},socket-abstract=no"),
        ]
    }

    #[test]
    fn the_socket_of_somebody_else_is_refused_and_stays() {
        let place = Place::new("used");
        let path = place.path("socket");
        let listener = UnixListener::bind(&path).expect("a free path");
        for device in listeners(&path) {
            let error = checked(&device).expect_err("in use");
            assert!(matches!(error, PortError::SocketInUse { .. }), "{error}");
        }
        for device in [format!("net_vhost0,iface={path},client=1"), format!("net_virtio_user0,path={path}")] {
            assert_eq!(checked(&device), Ok(()), "{device} connects to it");
        }
        assert!(Path::new(&path).exists());
        drop(listener);
    }

    #[test]
    fn a_socket_nobody_listens_on_any_more_makes_room() {
        let place = Place::new("stale");
        let path = place.path("socket");
        for device in listeners(&path) {
            drop(UnixListener::bind(&path).expect("a free path"));
            assert!(Path::new(&path).exists(), "a closed socket leaves its path");
            assert_eq!(checked(&device), Ok(()), "{device}");
            assert!(!Path::new(&path).exists(), "{device}");
        }
    }

    #[test]
    fn what_is_no_socket_is_never_touched() {
        let place = Place::new("file");
        let path = place.path("notes.txt");
        fs::write(&path, "precious").expect("a writable directory");
        for device in listeners(&path) {
            let error = checked(&device).expect_err("a file");
            assert!(matches!(error, PortError::NotASocket { .. }), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("precious"));
    }

    #[test]
    fn missing_files_directories_and_peers_are_named() {
        let place = Place::new("missing");
        let free = place.path("free");
        for (device, words) in [
            ("net_vhost0,iface=/nowhere/v.sock".to_owned(), "no directory /nowhere"),
            ("net_pcap0,tx_pcap=/nowhere/o.pcap".to_owned(), "no directory /nowhere"),
            (format!("net_pcap0,rx_pcap=/dev/null,rx_pcap={free}"), "no file"),
            (format!("net_virtio_user0,path={free}"), "nobody listens"),
            (format!("net_memif0,role=client,socket={free},socket-abstract=no"), "nobody listens"),
        ] {
            let message = checked(&device).expect_err("something is missing").to_string();
            assert!(message.contains(&device) && message.contains(words), "{message}");
        }
        for device in [
            format!("net_vhost0,iface={free}"),
            format!("net_memif0,role=server,socket={free}"),
            "net_memif0,role=client,id=3".to_owned(),
            "net_null0,rx_pcap=/nowhere".to_owned(),
        ] {
            assert_eq!(checked(&device), Ok(()), "{device}");
        }
    }
}

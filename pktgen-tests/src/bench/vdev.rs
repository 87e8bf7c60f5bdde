//! The virtual wires: what the device under test opens at its end, and the generator at the other.

use std::path::Path;

use super::Vdev;

/// Of every wire: one for IPv4, one for IPv6.
pub(super) const PORTS: [&str; 2] = ["v4", "v6"];

/// The device strings of one end, IPv4 port first.
pub(super) type Devices = [String; 2];

impl Vdev {
    /// The end of the device under test, which copies packets in and out. It has to be there first: it makes the
    /// sockets.
    #[must_use]
    pub(super) fn of_subject(self, sockets: &Path) -> Devices {
        [0, 1].map(|number| {
            let socket = socket(sockets, number);
            match self {
                Self::Memif => format!(
                    "net_memif{number},role=server,id={number},socket={socket},socket-abstract=no,bsize=2048,rsize=10"
                ),
                Self::Vhost => format!("net_vhost{number},iface={socket},queues=1"),
            }
        })
    }

    /// The end of the generator, which copies nothing.
    #[must_use]
    pub(super) fn of_generator(self, sockets: &Path) -> Devices {
        [0, 1].map(|number| {
            let socket = socket(sockets, number);
            match self {
                Self::Memif => format!(
                    "net_memif{number},role=client,id={number},socket={socket},socket-abstract=no,bsize=2048,rsize=10,\
                     zero-copy=yes"
                ),
                Self::Vhost => format!(
                    "net_virtio_user{number},path={socket},queues=1,queue_size=1024,packed_vq=1,mrg_rxbuf=0,in_order=1"
                ),
            }
        })
    }

    /// Whether the device under test has made its sockets.
    #[must_use]
    pub(super) fn is_open(sockets: &Path) -> bool {
        [0, 1].into_iter().all(|number| Path::new(&socket(sockets, number)).exists())
    }
}

fn socket(sockets: &Path, number: usize) -> String {
    sockets.join(format!("{}.sock", PORTS[number])).display().to_string()
}

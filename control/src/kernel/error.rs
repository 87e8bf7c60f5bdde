//! Why following the kernel ends.

use std::io;

/// Operations that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No netlink.
    #[error(
        "cannot listen to the kernel's routing (netlink): {0}; does a sandbox forbid AF_NETLINK sockets?"
    )]
    Listen(#[source] io::Error),
    /// No thread.
    #[error("cannot start a thread: {0}; see `ulimit -u` and TasksMax of the unit")]
    Thread(#[source] io::Error),
    /// The first reading of the kernel's state failed.
    #[error("cannot read the kernel's interfaces, addresses, routes and neighbours: {0}")]
    Dump(#[source] io::Error),
    /// A twin is gone.
    #[error(
        "interface {name} is gone: was it deleted or moved to another network namespace? \
         Restart borderline to have it back"
    )]
    TwinLost {
        /// Name of the twin.
        name: String,
    },
    /// A twin gives no frames.
    #[error("cannot read from interface {name}: {source}")]
    TwinRead {
        /// Name of the twin.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

//! What can go wrong, with what to do about it. What the device does wrong is a result, not an error.

use std::io;
use std::path::{Path, PathBuf};

use dataplane::dpdk::{EalError, LcoreError, MempoolError, PortError};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum PktgenError {
    /// The configuration cannot be used.
    #[error("{}:\n  {problems}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// All problems.
        problems: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of results is none.
    #[error("{}: these are no results of pktgen: {reason}", file.display())]
    Results {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A plot cannot be drawn.
    #[error("{}: the plot cannot be drawn: {reason}", file.display())]
    Plot {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// DPDK does not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// No packet memory.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    /// A port does not open.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A thread cannot have its CPU.
    #[error(transparent)]
    Lcore(#[from] LcoreError),
    /// Nobody is at the other end of a port.
    #[error("port {port}: the link is down after {seconds} s: start the device at the other end of {device}")]
    LinkDown {
        /// The port.
        port: String,
        /// Its device string.
        device: String,
        /// How long it was waited for.
        seconds: f64,
    },
    /// The device forwards nothing.
    #[error(
        "stream {stream}: nothing came back within {seconds} s ({seen}): check routes, neighbours and EAMs of the device"
    )]
    Silence {
        /// The stream.
        stream: &'static str,
        /// How long it was waited for.
        seconds: f64,
        /// What was seen instead.
        seen: String,
    },
    /// SIGINT or SIGTERM.
    #[error("stopped by a signal")]
    Interrupted,
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
    /// The command of `reset` or `reconfigure` failed.
    #[error("`{command}` failed: {reason}")]
    Command {
        /// The command line.
        command: String,
        /// Why.
        reason: String,
    },
}

impl PktgenError {
    /// For `map_err`: names the file.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = path.to_owned();
        move |source| Self::File { file, source }
    }

    /// Whether the user's input is what is wrong: exit status 2 instead of 1.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Config { .. } | Self::Results { .. })
    }
}

//! DPDK's own forwarder on the same wires: what moving a packet costs without translating it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::BenchError;
use super::Vdev;
use super::cpus::{self, SUBJECT_CPU};
use super::generator::Expect;
use crate::lab::{Cmd, Daemon, LabError};

/// What testpmd does to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Exchanges the MAC addresses: the least a forwarder does that touches packets.
    MacSwap,
    /// Nothing.
    Io,
}

impl Mode {
    /// testpmd's own name of the mode.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MacSwap => "macswap",
            Self::Io => "io",
        }
    }
}

/// A running testpmd.
#[derive(Debug)]
pub(super) struct Testpmd {
    mode: Mode,
    daemon: Daemon,
}

impl Testpmd {
    /// Where frames to it may go: it takes every frame, whatever its address.
    pub(super) const MACS: [&str; 2] = ["02:00:00:00:01:04", "02:00:00:00:01:06"];

    /// Starts testpmd between the two wires and waits until it forwards.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) fn start(mode: Mode, vdev: Vdev, sockets: &Path) -> Result<Self, BenchError> {
        let [v4, v6] = vdev.of_subject(sockets);
        let directory = tempfile::tempdir().map_err(LabError::io("temporary directory"))?;
        let command = Cmd::new("dpdk-testpmd")
            .arg("--lcores")
            .arg(format!("0@{SUBJECT_CPU},1@{SUBJECT_CPU}"))
            .args("--no-pci --no-telemetry --in-memory --single-file-segments")
            .arg("--vdev")
            .arg(v4)
            .arg("--vdev")
            .arg(v6)
            .args("-- --interactive --auto-start --record-core-cycles --nb-cores=1 --port-topology=paired")
            .args("--burst=64 --rxd=1024 --txd=1024 --total-num-mbufs=16384 --disable-link-check")
            .arg(format!("--forward-mode={}", mode.name()));
        let mut daemon = Daemon::start_interactive("dpdk-testpmd", &command, directory)?;
        daemon.wait_for("sockets", |_| Vdev::is_open(sockets))?;
        daemon.wait_for("forwarding thread", |daemon| cpus::prefer_workers(daemon.pid()))?;
        Ok(Self { mode, daemon })
    }

    /// What the generator has to expect.
    #[must_use]
    pub(super) fn expect(&self) -> Expect {
        match self.mode {
            Mode::MacSwap => Expect::Macswapped,
            Mode::Io => Expect::Unchanged,
        }
    }

    /// Does something while testpmd is asked for its counters again and again: memif forgets its own when the other end
    /// goes.
    pub(super) fn watch<T>(&mut self, body: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.daemon.tell("show fwd stats all");
                    thread::sleep(Duration::from_millis(100));
                }
            });
            let result = body();
            done.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Ends it; cycles per packet as it counts them.
    ///
    /// # Errors
    /// When it has forwarded nothing.
    pub(super) fn stop(mut self) -> Result<f64, BenchError> {
        self.daemon.stop(Signal::SIGTERM, Duration::from_secs(5));
        let log = self.daemon.log();
        cycles(&log).ok_or_else(|| LabError::Unreadable { what: "testpmd's cycles".into(), text: log }.into())
    }
}

/// The last count in its log.
fn cycles(log: &str) -> Option<f64> {
    log.rsplit_once("CPU cycles/packet=")?.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_found_in_the_statistics() {
        let log = "  ++++\n\n  CPU cycles/packet=134.16 (total cycles=10981863625 / total macswap packets=81855808) at \
                   2600 MHz Clock\nStopping port 0...\n";
        assert_eq!(cycles(log), Some(134.16));
        assert_eq!(cycles("no packets"), None);
    }
}

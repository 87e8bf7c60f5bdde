//! What the actor needs of ports, workers and packet memory, so that it knows nothing of DPDK.

use dataplane::counters::Counts;
use dataplane::table::routing::MacAddress;
use dataplane::timing::Timings;

/// The ports, the workers and the packet memory of a running relay. Every method but [`stop_workers`](Self::stop_workers)
/// is called on the control thread while it runs, and returns at once.
pub trait Machine {
    /// What the ports are, in the order of the configuration.
    fn ports(&self) -> &[PortFacts];
    /// The state of a port's cable. `None` when the driver cannot tell: the kernel's interface does then.
    fn link(&self, port: usize) -> Option<Link>;
    /// The state or speed of a cable is another than before: the workers sleep as long as no burst can be lost.
    fn links_changed(&self);
    /// Has a port receive frames to these unicast addresses besides its own, and to no others any more.
    fn set_extra_macs(&mut self, port: usize, macs: &[MacAddress]);
    /// What a port's driver counts.
    fn port_counts(&self, port: usize) -> PortCounts;
    /// The CPU of each worker.
    fn worker_cpus(&self) -> &[u16];
    /// The counts of each worker, in the same order.
    fn worker_counts(&self) -> Vec<Counts>;
    /// Where the time of each worker goes, in the order of their CPUs.
    fn worker_timings(&self) -> Vec<Timings>;
    /// Cycles of the workers' clock in a second.
    fn hertz(&self) -> u64;
    /// Packet buffers that are not in the pool: held by drivers and workers.
    fn mbufs_in_use(&self) -> usize;
    /// Ends the workers and waits for them. Called once, when everything else is over.
    fn stop_workers(&mut self);
}

/// What a port is. Fixed while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFacts {
    /// Its name in the configuration.
    pub name: String,
    /// The device string it was opened with.
    pub device: String,
    /// The driver, such as `net_ixgbe`.
    pub driver: String,
    /// The kernel interface behind it, for drivers that sit on one, such as `net_af_xdp`.
    pub interface: Option<String>,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes.
    pub mtu: u16,
}

/// The state of a cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// Mbit/s; none when the driver does not know.
    pub speed_mbps: Option<u32>,
}

/// What a driver counts itself, since the port was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortCounts {
    /// Frames handed to the workers.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Bytes handed to the workers.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Frames lost before a worker could fetch them.
    pub missed: u64,
    /// Frames received damaged.
    pub receive_errors: u64,
    /// Frames that failed to be sent.
    pub send_errors: u64,
    /// Receive attempts that failed because the pool of buffers was empty.
    pub no_mbuf: u64,
}

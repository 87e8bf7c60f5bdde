//! What a port says about itself.

/// How received packets spread over the queues of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// There is one queue only.
    OneQueue,
    /// The NIC hashes addresses: fragments and ICMP errors stay on the queue of their flow.
    Addresses,
    /// The NIC also hashes L4 ports: fragments may overtake their flow on another queue.
    AddressesAndPorts,
    /// The driver or the kernel decides, without being asked.
    Driver,
}

/// What a port is and was set up to do. Fixed while it is open, except for the two receive modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// The device string it was opened with.
    pub device: String,
    /// The name of the driver, such as `net_ixgbe`.
    pub driver: String,
    /// The MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Queue pairs in use.
    pub queues: u16,
    /// Queue pairs the device has.
    pub max_queues: u16,
    /// Descriptors of each receive queue.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue.
    pub tx_descriptors: u16,
    /// NUMA node, if the device has one.
    pub numa_node: Option<u32>,
    /// How packets spread over the queues.
    pub spread: Spread,
    /// Whether the NIC checks IPv4 header checksums, see [`super::Mbuf::ipv4_checksum`].
    pub ipv4_checksum: bool,
    /// Whether transmit queues take mbufs of their own pool only.
    pub fast_free: bool,
    /// Whether frames for other stations are received.
    pub promiscuous: bool,
    /// Whether the driver was switched to receive all multicast. False for drivers without such a switch,
    /// most of which are virtual and receive everything.
    pub all_multicast: bool,
}

/// The state of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// Mbit/s; `u32::MAX` when the driver does not know.
    pub speed_mbps: u32,
    /// Whether both directions work at once.
    pub full_duplex: bool,
}

/// DPDK's basic counters since the port was opened, by DPDK's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Packets received.
    pub ipackets: u64,
    /// Packets sent.
    pub opackets: u64,
    /// Bytes received.
    pub ibytes: u64,
    /// Bytes sent.
    pub obytes: u64,
    /// Packets the NIC dropped because no worker fetched them in time.
    pub imissed: u64,
    /// Packets received damaged.
    pub ierrors: u64,
    /// Packets that failed to be sent.
    pub oerrors: u64,
    /// Receive attempts that failed because the mempool was exhausted.
    pub rx_nombuf: u64,
}

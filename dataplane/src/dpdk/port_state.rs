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
    /// Whether each receive queue can interrupt, and was asked to be able to.
    pub interrupts: bool,
    /// Whether frames for other stations are received.
    pub promiscuous: bool,
    /// Whether the driver was switched to receive all multicast. False for drivers without such a switch,
    /// most of which are virtual and receive everything.
    pub all_multicast: bool,
}

/// How a port receives frames to its further MAC addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MacFilter {
    /// The NIC knows each of them.
    Exact,
    /// The port receives everything, as it was asked to in any case.
    Promiscuous,
    /// The port receives everything since then: the driver took no more addresses, for this reason.
    LastResort(String),
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

/// DPDK's basic counters since the port was opened, by DPDK's names. They only grow.
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

impl PortStats {
    /// Each counter of `self` with that of `other`.
    fn zip(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            ipackets: join(self.ipackets, other.ipackets),
            opackets: join(self.opackets, other.opackets),
            ibytes: join(self.ibytes, other.ibytes),
            obytes: join(self.obytes, other.obytes),
            imissed: join(self.imissed, other.imissed),
            ierrors: join(self.ierrors, other.ierrors),
            oerrors: join(self.oerrors, other.oerrors),
            rx_nombuf: join(self.rx_nombuf, other.rx_nombuf),
        }
    }
}

/// Counters that only grow, from those of a driver that may begin again: `net_memif` does whenever its peer goes. What
/// such a driver counted after the last look before it began again is lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growing {
    /// What was counted before the driver began again.
    before: PortStats,
    last: PortStats,
}

impl Growing {
    /// The counters, now that the driver says `now`.
    pub(super) fn read(&mut self, now: PortStats) -> PortStats {
        let ended = self.last.zip(now, |last, now| if now < last { last } else { 0 });
        self.before = self.before.zip(ended, |before, ended| before + ended);
        self.last = now;
        self.before.zip(now, |before, now| before + now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_grow_although_a_driver_begins_again() {
        let stats = |ipackets, opackets| PortStats { ipackets, opackets, ..PortStats::default() };
        let mut growing = Growing::default();
        let read: Vec<_> = [(10, 0), (15, 7), (0, 0), (3, 9), (3, 9), (1, 12)]
            .into_iter()
            .map(|(received, sent)| growing.read(stats(received, sent)))
            .map(|stats| (stats.ipackets, stats.opackets))
            .collect();
        assert_eq!(read, [(10, 0), (15, 7), (15, 7), (18, 16), (18, 16), (19, 19)]);
    }
}

//! How a port is asked to work, and what of it its driver can do.

use std::ops::RangeInclusive;

use dpdk_sys::{rte_eth_conf, rte_eth_dev_info};

use super::device::{Device, mtu_hint, queue_hint};
use super::error::PortError;
use super::mempool::{DEFAULT_HEADROOM, Mempool, frame_size};
use super::port_state::Spread;

/// Hash types over addresses only: fragments and ICMP errors then take the same queue as their flow.
const RSS_ADDRESSES: u64 = dpdk_sys::BL_ETH_RSS_IPV4
    | dpdk_sys::BL_ETH_RSS_FRAG_IPV4
    | dpdk_sys::BL_ETH_RSS_NONFRAG_IPV4_OTHER
    | dpdk_sys::BL_ETH_RSS_IPV6
    | dpdk_sys::BL_ETH_RSS_FRAG_IPV6
    | dpdk_sys::BL_ETH_RSS_NONFRAG_IPV6_OTHER;

/// Without these two a driver hashes TCP and UDP by their own types only.
const RSS_WHOLE_IP: u64 = dpdk_sys::BL_ETH_RSS_IPV4 | dpdk_sys::BL_ETH_RSS_IPV6;

const RSS_PORTS: u64 = dpdk_sys::BL_ETH_RSS_NONFRAG_IPV4_TCP
    | dpdk_sys::BL_ETH_RSS_NONFRAG_IPV4_UDP
    | dpdk_sys::BL_ETH_RSS_NONFRAG_IPV6_TCP
    | dpdk_sys::BL_ETH_RSS_NONFRAG_IPV6_UDP;

/// Bytes of a `net_af_packet` frame slot that hold no packet: kernel headers, Ethernet header, one VLAN tag.
const AF_PACKET_OVERHEAD: u32 = 66 + 14 + 4;
/// What `net_af_packet` takes for `framesz` when it is not given.
const AF_PACKET_FRAME_SIZE: u32 = 2048;

/// What [`super::Port::open`] is asked for.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// Queue pairs, one per worker.
    pub queues: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Descriptors of each receive queue, fitted to what the driver allows. 0 leaves the number to it.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue, likewise.
    pub tx_descriptors: u16,
    /// Whether to receive frames for other stations. All multicast is received in any case, where the driver
    /// can.
    pub promiscuous: bool,
    /// Where received packets live: one pool for all queues, or one for each, in order.
    pub mempools: Vec<Mempool>,
    /// Tells the NIC that each transmit queue only gets mbufs of its own pool, where that makes it faster.
    /// Mbufs of another pool are then refused. True is right when a worker allocates from the pool its queues
    /// use, as ours do.
    pub fast_free: bool,
    /// Whether receive queues shall be able to interrupt, where the driver has that: see [`super::RxAlarm`].
    pub interrupts: bool,
}

impl Default for PortConfig {
    /// One queue, MTU 1500, and no mempool yet.
    fn default() -> Self {
        Self {
            queues: 1,
            mtu: 1500,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            promiscuous: false,
            mempools: Vec::new(),
            fast_free: true,
            interrupts: false,
        }
    }
}

impl PortConfig {
    /// The pool of queue `queue`. Call only after [`PortConfig::check`].
    pub(super) fn mempool(&self, queue: u16) -> &Mempool {
        if self.mempools.len() == 1 { &self.mempools[0] } else { &self.mempools[usize::from(queue)] }
    }

    /// Everything that can be said without asking the driver.
    pub(super) fn check(&self, device: &str) -> Result<(), PortError> {
        let mempools = self.mempools.len();
        if self.queues == 0 || (mempools != 1 && mempools != usize::from(self.queues)) {
            return Err(PortError::Mempools { device: device.to_owned(), queues: self.queues, mempools });
        }
        let wanted = frame_size(self.mtu) + u32::from(DEFAULT_HEADROOM);
        match self.mempools.iter().map(Mempool::data_room).find(|&data_room| u32::from(data_room) < wanted) {
            Some(data_room) => {
                Err(PortError::DataRoom { device: device.to_owned(), mtu: self.mtu, wanted, data_room })
            }
            None => Ok(()),
        }
    }
}

/// A [`PortConfig`] fitted to a driver.
pub(super) struct Plan {
    pub(super) conf: rte_eth_conf,
    pub(super) spread: Spread,
    /// The MTU the driver is told.
    pub(super) mtu: u16,
    pub(super) fast_free: bool,
    pub(super) ipv4_checksum: bool,
}

/// Fits `config` to what `info` says the driver can do.
///
/// # Errors
/// Too many queues, or an MTU outside the limits of the driver.
pub(super) fn plan(
    device: &str,
    driver: &str,
    config: &PortConfig,
    info: &rte_eth_dev_info,
) -> Result<Plan, PortError> {
    let limit = info.max_rx_queues.min(info.max_tx_queues);
    if config.queues > limit {
        return Err(PortError::TooManyQueues {
            device: device.to_owned(),
            wanted: config.queues,
            limit,
            hint: queue_hint(driver),
        });
    }
    let mtu = fit_mtu(device, driver, config.mtu, info)?;
    let (spread, rss_types) = spread(config.queues, info.flow_type_rss_offloads);
    let fast_free =
        config.fast_free && info.tx_offload_capa & dpdk_sys::BL_ETH_TX_OFFLOAD_MBUF_FAST_FREE != 0;
    let ipv4_checksum = info.rx_offload_capa & dpdk_sys::BL_ETH_RX_OFFLOAD_IPV4_CKSUM != 0;

    let mut conf = rte_eth_conf::default();
    conf.intr_conf.set_rxq(u32::from(config.interrupts));
    conf.rxmode.mtu = u32::from(mtu);
    if ipv4_checksum {
        conf.rxmode.offloads |= dpdk_sys::BL_ETH_RX_OFFLOAD_IPV4_CKSUM;
    }
    if fast_free {
        conf.txmode.offloads |= dpdk_sys::BL_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
    }
    if rss_types != 0 {
        conf.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss_types;
    }
    Ok(Plan { conf, spread, mtu, fast_free, ipv4_checksum })
}

/// The MTU to tell the driver: a smaller one than asked for where DPDK thinks a driver more limited than it
/// is.
fn fit_mtu(device: &str, driver: &str, mtu: u16, info: &rte_eth_dev_info) -> Result<u16, PortError> {
    let stated = stated_limit(info);
    let highest = match driver {
        // Both state a largest frame of 1518 bytes, and carry whatever fits their buffers.
        "net_memif" => u16::MAX,
        "net_af_packet" => stated.max(af_packet_limit(device)),
        _ => stated,
    };
    check_mtu(device, driver, mtu, info.min_mtu..=highest).map(|()| mtu.min(stated))
}

/// The least that Ethernet carries (`RTE_ETHER_MIN_MTU`).
const LOWEST_MTU: u16 = 68;
/// What `net_af_packet` states as its highest MTU, and sets on its interface.
pub(super) const AF_PACKET_SETS: u16 = 1500;

/// Whether frames of an MTU fit the slots of a `net_af_packet` device.
pub(super) fn check_slots(device: &str, mtu: u16) -> Result<(), PortError> {
    check_mtu(device, "net_af_packet", mtu, LOWEST_MTU..=AF_PACKET_SETS.max(af_packet_limit(device)))
}

fn check_mtu(device: &str, driver: &str, mtu: u16, taken: RangeInclusive<u16>) -> Result<(), PortError> {
    if taken.contains(&mtu) {
        return Ok(());
    }
    let (lowest, highest) = taken.into_inner();
    Err(PortError::Mtu { device: device.to_owned(), mtu, lowest, highest, hint: mtu_hint(driver) })
}

/// The highest MTU by the two limits a driver states.
fn stated_limit(info: &rte_eth_dev_info) -> u16 {
    // DPDK's own rule for the bytes around an MTU, see eth_dev_get_overhead_len in rte_ethdev.c.
    let overhead = match info.max_mtu {
        u16::MAX => 18,
        max_mtu => {
            info.max_rx_pktlen.checked_sub(u32::from(max_mtu)).filter(|&bytes| bytes > 0).unwrap_or(18)
        }
    };
    u16::try_from(info.max_rx_pktlen.saturating_sub(overhead)).unwrap_or(u16::MAX).min(info.max_mtu)
}

/// The highest MTU by the size of the frame slots. Longer frames would be cut short.
fn af_packet_limit(device: &str) -> u16 {
    let frame_size = Device::parse(device).and_then(|device| device.argument("framesz")?.parse().ok());
    u16::try_from(frame_size.unwrap_or(AF_PACKET_FRAME_SIZE).saturating_sub(AF_PACKET_OVERHEAD))
        .unwrap_or(u16::MAX)
}

/// How to spread packets over `queues`, and the hash types that do it, given those the driver offers.
fn spread(queues: u16, offered: u64) -> (Spread, u64) {
    if queues == 1 {
        (Spread::OneQueue, 0)
    } else if offered & RSS_WHOLE_IP == RSS_WHOLE_IP {
        (Spread::Addresses, offered & RSS_ADDRESSES)
    } else if offered & (RSS_ADDRESSES | RSS_PORTS) != 0 {
        // Such a driver would leave all TCP and UDP on one queue if it were not asked for them by name.
        (Spread::AddressesAndPorts, offered & (RSS_ADDRESSES | RSS_PORTS))
    } else {
        (Spread::Driver, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(min_mtu: u16, max_mtu: u16, max_rx_pktlen: u32) -> rte_eth_dev_info {
        rte_eth_dev_info { min_mtu, max_mtu, max_rx_pktlen, ..rte_eth_dev_info::default() }
    }

    #[test]
    fn the_mtu_keeps_to_both_limits_of_the_driver() {
        let unlimited = limits(68, u16::MAX, u32::MAX);
        assert_eq!(fit_mtu("net_null0", "net_null", 9000, &unlimited), Ok(9000));
        let by_mtu = limits(68, 9000, 9018);
        assert!(fit_mtu("x", "net_ixgbe", 9000, &by_mtu).is_ok());
        let error = fit_mtu("x", "net_ixgbe", 9001, &by_mtu).expect_err("too large").to_string();
        assert!(error.contains("takes an MTU of 68 to 9000 bytes, 9001 is wanted"), "{error}");
        let by_frame = limits(68, u16::MAX, 1518);
        assert!(fit_mtu("x", "net_tap", 1501, &by_frame).is_err());
        assert_eq!(fit_mtu("x", "net_memif", 9000, &by_frame), Ok(1500), "a nominal limit does not bind");
    }

    /// Whatever a driver offers of the types we know: fragments and ICMP errors have no ports to hash, so they meet
    /// their flow only where its packets are hashed by addresses alone.
    #[test]
    fn fragments_and_icmp_errors_are_hashed_by_address_for_every_set_of_abilities() {
        let types: Vec<u64> =
            (0..64).map(|bit| 1 << bit).filter(|bit| (RSS_ADDRESSES | RSS_PORTS) & bit != 0).collect();
        assert_eq!(types.len(), 10);
        let (mut by_address, mut by_port) = (0, 0);
        for choice in 0_u32..1 << types.len() {
            let offered: u64 =
                types.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1).map(|(_, bit)| bit).sum();
            let info = rte_eth_dev_info {
                max_rx_queues: 4,
                max_tx_queues: 4,
                // Types we never ask for are offered as well: L2 payload, SCTP, tunnels.
                flow_type_rss_offloads: offered | 1 << 14 | 1 << 6 | 1 << 21,
                ..limits(68, u16::MAX, u32::MAX)
            };
            let config = PortConfig { queues: 4, ..PortConfig::default() };
            let plan = plan("x", "net_x", &config, &info).expect("nothing is too much for this driver");
            let asked = plan.conf.rx_adv_conf.rss_conf.rss_hf;
            assert_eq!(asked & !offered, 0, "{offered:x}: only what is offered, and only what we know");
            assert_eq!(
                offered & RSS_ADDRESSES,
                asked & RSS_ADDRESSES,
                "{offered:x}: all that hashes addresses"
            );
            assert_eq!(plan.conf.rxmode.mq_mode == dpdk_sys::RTE_ETH_MQ_RX_RSS, asked != 0, "{offered:x}");
            match plan.spread {
                Spread::Addresses => {
                    by_address += 1;
                    assert_eq!(
                        asked & RSS_PORTS,
                        0,
                        "{offered:x}: ports would part fragments from their flow"
                    );
                    assert_eq!(
                        asked & RSS_WHOLE_IP,
                        RSS_WHOLE_IP,
                        "{offered:x}: TCP and UDP would not be spread"
                    );
                }
                Spread::AddressesAndPorts => {
                    by_port += 1;
                    assert_ne!(
                        offered & RSS_WHOLE_IP,
                        RSS_WHOLE_IP,
                        "{offered:x}: addresses alone were possible"
                    );
                    assert_eq!(
                        asked & RSS_PORTS,
                        offered & RSS_PORTS,
                        "{offered:x}: one queue would get it all"
                    );
                }
                Spread::Driver => assert_eq!(offered, 0),
                Spread::OneQueue => panic!("four queues"),
            }
        }
        assert_eq!((by_address, by_port), (256, 767), "of 1024 sets");
    }

    #[test]
    fn packets_spread_by_addresses_alone_where_the_driver_can() {
        let all = RSS_ADDRESSES | RSS_PORTS | 1 << 14;
        assert_eq!(spread(2, all), (Spread::Addresses, RSS_ADDRESSES));
        assert_eq!(spread(2, RSS_WHOLE_IP), (Spread::Addresses, RSS_WHOLE_IP));
        let by_type = (RSS_ADDRESSES & !RSS_WHOLE_IP) | RSS_PORTS;
        assert_eq!(spread(2, by_type), (Spread::AddressesAndPorts, by_type));
        assert_eq!(spread(2, 0), (Spread::Driver, 0));
        assert_eq!(spread(1, all), (Spread::OneQueue, 0));
    }
}

//! The device string of a port: a PCI address or a virtual device, each with optional driver arguments after
//! a comma.
//!
//! What is known here of single drivers serves error messages, and one workaround (`net_af_packet`, whose
//! limits DPDK does not know). Seen on DPDK 22.11 and worth knowing when a laboratory is built:
//!
//! | driver | fragments | jumbo frames | queues | mbufs when idle |
//! | --- | --- | --- | --- | --- |
//! | `net_af_packet` | the kernel reassembles IPv4, and the driver cuts at `framesz` | with `framesz` | `qpairs` | 0 |
//! | `net_af_xdp` | as sent | up to MTU 3542 | 1 on veth | 2048 per queue, lost when closed |
//! | `net_memif` | as sent | by `bsize` or chained | 255 | 0 |
//! | `net_tap` | as sent | no | 16 | descriptors less one, per queue |
//! | `net_ring`, `net_null` | as sent | any | 16, 1024 | 0 |

use std::fs;
use std::path::PathBuf;

/// Drivers through which a user process reaches a PCI card. The mlx and mana ones share it with the kernel.
const USER_DRIVERS: &[&str] =
    &["vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core", "mlx4_core", "mana", "hv_netvsc"];

/// What DPDK's bonding driver calls its members, until 23.07 and since.
const MEMBER_KEYS: [&str; 2] = ["slave", "member"];

/// A parsed device string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Device<'a> {
    /// A card: `0000:3b:00.0` or `3b:00.0`, with or without arguments.
    Pci(&'a str),
    /// A virtual device: `net_af_packet0,iface=eth0`.
    Virtual(&'a str),
}

impl<'a> Device<'a> {
    /// Tells the kinds apart, or returns `None` for what is neither.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let name = text.split(',').next()?;
        if name.is_empty() || text.contains(['\0', ' ', '\n']) {
            None
        } else if is_pci_address(name) {
            Some(Self::Pci(text))
        } else {
            Some(Self::Virtual(text))
        }
    }

    /// The name DPDK gives the port.
    pub(super) fn port_name(self) -> String {
        match self {
            Self::Pci(text) => {
                let address = text.split(',').next().unwrap_or(text).to_ascii_lowercase();
                if address.matches(':').count() == 1 { format!("0000:{address}") } else { address }
            }
            Self::Virtual(text) => text.split(',').next().unwrap_or(text).to_owned(),
        }
    }

    /// The driver of a virtual device: its name up to the number.
    pub(super) fn driver(self) -> Option<&'a str> {
        match self {
            Self::Pci(_) => None,
            Self::Virtual(text) => {
                Some(text.split(',').next()?.trim_end_matches(|digit: char| digit.is_ascii_digit()))
            }
        }
    }

    /// The value of one of the driver's arguments.
    pub(super) fn argument(self, key: &str) -> Option<&'a str> {
        self.arguments(key).next()
    }

    /// All values of an argument that may be given more than once.
    pub(super) fn arguments(self, key: &str) -> impl Iterator<Item = &'a str> {
        let (Self::Pci(text) | Self::Virtual(text)) = self;
        text.split(',').skip(1).filter_map(move |argument| argument.strip_prefix(key)?.strip_prefix('='))
    }

    /// The devices that a bond is made of, with what follows each behind a semicolon as its arguments:
    /// `net_bonding0,mode=4,slave=0000:3b:00.0,slave=net_af_xdp1;iface=eth1`.
    pub(super) fn members(self) -> Vec<String> {
        if self.driver() != Some("net_bonding") {
            return Vec::new();
        }
        MEMBER_KEYS
            .iter()
            .flat_map(|key| self.arguments(key))
            .map(|member| member.replace(';', ","))
            .collect()
    }

    /// The device string as its driver takes it: the members of a bond without their arguments.
    pub(super) fn for_driver(self) -> String {
        let (Self::Pci(text) | Self::Virtual(text)) = self;
        let is_bond = self.driver() == Some("net_bonding");
        let without = |argument: &'a str| {
            if is_bond { argument.split(';').next().unwrap_or(argument) } else { argument }
        };
        text.split(',').map(without).collect::<Vec<_>>().join(",")
    }

    /// Whether the card is there; `None` for a virtual device.
    pub(super) fn card_exists(self) -> Option<bool> {
        matches!(self, Self::Pci(_)).then(|| self.sysfs().exists())
    }

    /// The kernel driver that keeps a card from us.
    pub(super) fn kernel_driver(self) -> Option<String> {
        let driver = fs::read_link(self.sysfs().join("driver")).ok()?;
        let name = driver.file_name()?.to_string_lossy().into_owned();
        (!USER_DRIVERS.contains(&name.as_str())).then_some(name)
    }

    /// The network interface this device shall use, when that interface is not in this network namespace.
    pub(super) fn missing_interface(self) -> Option<&'a str> {
        let keys: &[&str] = match self.driver()? {
            "net_af_packet" | "net_af_xdp" => &["iface"],
            "net_pcap" => &["iface", "rx_iface", "rx_iface_in", "tx_iface"],
            _ => return None,
        };
        let interfaces = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
        let is_present =
            |name: &str| interfaces.lines().any(|line| line.split(':').next().map(str::trim) == Some(name));
        keys.iter().flat_map(|key| self.arguments(key)).find(|interface| !is_present(interface))
    }

    /// The MTU of the interface under a virtual device, if it has one and the kernel tells.
    pub(super) fn interface_mtu(self) -> Option<(&'a str, u32)> {
        let interface = self.argument("iface")?;
        let mtu = fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?;
        Some((interface, mtu.trim().parse().ok()?))
    }

    fn sysfs(self) -> PathBuf {
        PathBuf::from("/sys/bus/pci/devices").join(self.port_name())
    }
}

/// `dddd:bb:dd.f` or `bb:dd.f`, in hexadecimal.
fn is_pci_address(name: &str) -> bool {
    let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = name.rsplitn(3, ':');
    let (Some(slot), Some(bus), domain) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some((device, function)) = slot.split_once('.') else {
        return false;
    };
    let domain_fits =
        domain.is_none_or(|domain| (4..=8).contains(&domain.len()) && hex(domain, domain.len()));
    domain_fits && hex(bus, 2) && hex(device, 2) && hex(function, 1)
}

/// What to try when a driver has fewer queues than there are workers.
pub(super) fn queue_hint(driver: &str) -> &'static str {
    match driver {
        "net_af_packet" => ", or add qpairs=N to the device",
        "net_af_xdp" => {
            ", or raise `ethtool -L` combined of the interface and add queue_count=N to the device"
        }
        "net_vhost" | "net_virtio_user" => ", or add queues=N to the device, on both ends",
        "net_pcap" => ", or name one file per queue (rx_pcap=...,rx_pcap=...)",
        _ => "",
    }
}

/// What to try when a driver refuses an MTU.
pub(super) fn mtu_hint(driver: &str) -> &'static str {
    match driver {
        "net_af_packet" => ": for MTU 9000 add blocksz=36864,framesz=9216 to the device",
        "net_af_xdp" => ": a frame of AF_XDP fits in one page, use another driver for jumbo frames",
        "net_tap" => ": this driver takes no jumbo frames",
        _ => "",
    }
}

/// The arguments each virtual driver of DPDK 22.11 takes; the first is one it cannot do without, if that is said.
const ARGUMENTS: &[(&str, bool, &[&str])] = &[
    ("net_null", false, &["size", "copy", "no-rx"]),
    ("net_af_packet", true, &["iface", "qpairs", "blocksz", "framesz", "framecnt", "qdisc_bypass"]),
    (
        "net_af_xdp",
        true,
        &["iface", "start_queue", "queue_count", "shared_umem", "xdp_prog", "busy_budget", "force_copy"],
    ),
    (
        "net_vhost",
        true,
        &[
            "iface",
            "queues",
            "client",
            "iommu-support",
            "postcopy-support",
            "tso",
            "linear-buffer",
            "ext-buffer",
            "legacy-ol-flags",
        ],
    ),
    (
        "net_virtio_user",
        true,
        &[
            "path",
            "mac",
            "cq",
            "queue_size",
            "queues",
            "iface",
            "server",
            "mrg_rxbuf",
            "in_order",
            "packed_vq",
            "speed",
            "vectorized",
        ],
    ),
    (
        "net_pcap",
        false,
        &["rx_pcap", "tx_pcap", "rx_iface", "rx_iface_in", "tx_iface", "iface", "phy_mac", "infinite_rx"],
    ),
    ("net_tap", false, &["iface", "mac", "remote", "persist"]),
];

/// What is wrong with the arguments of a device that its driver refused, as far as the names tell.
pub(super) fn argument_hint(device: Device<'_>) -> Option<String> {
    let (driver, needs_first, known) = ARGUMENTS.iter().find(|(name, ..)| device.driver() == Some(*name))?;
    let Device::Virtual(text) = device else { return None };
    let mut given = text.split(',').skip(1).map(|argument| argument.split('=').next().unwrap_or(argument));
    if let Some(unknown) = given.find(|key| !known.contains(key)) {
        return Some(format!(": {driver} has no argument {unknown:?}, it takes {}", known.join(", ")));
    }
    let first = known.first().filter(|key| *needs_first && device.argument(key).is_none())?;
    Some(format!(": {driver} needs {first}=..., as in {driver}0,{first}=..."))
}

/// What the driver of `device` needs and this process lacks.
pub(super) fn privilege_hint(device: &str) -> &'static str {
    let Some(Device::Virtual(name)) = Device::parse(device) else {
        return if effective(CAP_SYS_RAWIO) {
            ""
        } else {
            ": this needs root, or access to the card in /dev/vfio"
        };
    };
    if name.starts_with("net_af_packet") && !(effective(CAP_NET_RAW) && effective(CAP_NET_ADMIN)) {
        ": this needs CAP_NET_RAW and CAP_NET_ADMIN"
    } else if name.starts_with("net_af_xdp") && !(effective(CAP_NET_ADMIN) && effective(CAP_SYS_ADMIN)) {
        ": this needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN and CAP_IPC_LOCK"
    } else if name.starts_with("net_tap") && !effective(CAP_NET_ADMIN) {
        ": this needs CAP_NET_ADMIN and access to /dev/net/tun"
    } else {
        ""
    }
}

// Numbers of capabilities, see capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_RAWIO: u32 = 17;
const CAP_SYS_ADMIN: u32 = 21;

/// Whether this thread has a capability; true if the kernel does not say.
fn effective(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask >> capability & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_told_from_virtual_devices() {
        assert_eq!(Device::parse("0000:3b:00.0"), Some(Device::Pci("0000:3b:00.0")));
        assert_eq!(Device::parse("3b:00.1,mprq_en=1"), Some(Device::Pci("3b:00.1,mprq_en=1")));
        for text in ["net_null0", "net_af_xdp0,iface=eth0", "3b:00", "zz:00.0", "0:3b:00.0", "0000:3b:00.00"]
        {
            assert_eq!(Device::parse(text), Some(Device::Virtual(text)), "{text}");
        }
        for text in ["", ",iface=eth0", "net_null0 ", "a\0b"] {
            assert_eq!(Device::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn port_names_are_the_ones_dpdk_gives() {
        let name = |text| Device::parse(text).expect("a device").port_name();
        assert_eq!(name("3B:00.1,mprq_en=1"), "0000:3b:00.1");
        assert_eq!(name("0001:3b:00.1"), "0001:3b:00.1");
        assert_eq!(name("net_af_xdp0,iface=eth0"), "net_af_xdp0");
    }

    #[test]
    fn arguments_are_found_by_their_whole_key() {
        let device = Device::parse("net_af_packet0,xiface=no,iface=eth0").expect("a device");
        assert_eq!(device.argument("iface"), Some("eth0"));
        assert_eq!(device.argument("framesz"), None);
    }

    #[test]
    fn arguments_a_driver_does_not_take_or_lacks_are_named() {
        let hint = |text| argument_hint(Device::parse(text).expect("a device"));
        let unknown = hint("net_null0,copy=1,bogus=2").expect("an unknown argument");
        assert!(unknown.contains("\"bogus\"") && unknown.contains("size, copy, no-rx"), "{unknown}");
        let missing = hint("net_vhost3,queues=2").expect("a missing argument");
        assert!(missing.contains("net_vhost needs iface="), "{missing}");
        for fine in ["net_null0", "net_af_xdp0,iface=eth0,queue_count=2", "net_ring0,x=1", "0000:3b:00.0,x=1"]
        {
            assert_eq!(hint(fine), None, "{fine}");
        }
    }

    #[test]
    fn a_bond_names_its_members_and_their_arguments() {
        let text = "net_bonding0,mode=4,slave=0000:3b:00.0,slave=net_af_xdp1;iface=eth1;start_queue=2";
        let bond = Device::parse(text).expect("a device");
        assert_eq!(bond.members(), ["0000:3b:00.0", "net_af_xdp1,iface=eth1,start_queue=2"]);
        assert_eq!(bond.for_driver(), "net_bonding0,mode=4,slave=0000:3b:00.0,slave=net_af_xdp1");
        let newer = Device::parse("net_bonding1,mode=1,member=3b:00.0").expect("a device");
        assert_eq!(newer.members(), ["3b:00.0"]);
        let other = Device::parse("net_pcap0,slave=x;y").expect("a device");
        assert_eq!((other.members(), other.for_driver()), (Vec::new(), "net_pcap0,slave=x;y".to_owned()));
    }

    #[test]
    fn only_drivers_on_interfaces_miss_them() {
        let missing = |text| Device::parse(text).expect("a device").missing_interface();
        assert_eq!(missing("net_af_packet0,iface=nowhere0"), Some("nowhere0"));
        assert_eq!(missing("net_af_packet0,iface=lo"), None);
        assert_eq!(missing("net_pcap0,rx_iface=lo,tx_iface=nowhere0"), Some("nowhere0"));
        assert_eq!(missing("net_tap0,iface=nowhere0"), None, "a TAP device is made, not found");
    }
}

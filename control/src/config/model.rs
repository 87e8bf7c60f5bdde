//! The validated configuration: every default applied, every value legal, every prefix without host bits.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};

use super::eams::Eams;
use super::error::Place;

/// A configuration the relay can start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[dpdk]`: processors and packet memory.
    pub dpdk: Dpdk,
    /// `[[port]]`, in the order of the file; at least one.
    pub ports: Vec<Port>,
    /// `[translation]`.
    pub translation: Translation,
    /// Every EAM: `[[eam]]` first, then each of `eam_files` in order. No two share an IPv4 or an IPv6 prefix.
    pub eams: Eams,
    /// `[control]`: the control socket; none without the table.
    pub control: Option<Control>,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[log]`: how lines look.
    pub log_format: LogFormat,
    /// `[announce]`: the routes that lead traffic here; none without the table, or where it is switched off.
    pub announce: Option<Announce>,
    /// How many mappings a reload with this configuration may remove.
    pub reload_may_remove: MayRemove,
}

/// The part of a configuration that `borderline translate` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslateConfig {
    /// `[translation]`.
    pub translation: Translation,
    /// As in [`Config::eams`].
    pub eams: Eams,
}

/// `[dpdk]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dpdk {
    /// CPU of each worker, at least one, no CPU twice.
    pub workers: Vec<u16>,
    /// Where packet buffers live.
    pub memory: Memory,
    /// Packet memory in megabytes.
    pub memory_mb: u32,
    /// What a worker does when nothing arrives.
    pub poll: Poll,
    /// Further EAL arguments, none of which repeats one we give ourselves.
    pub extra_args: Vec<String>,
    /// Where the file says so, for [`check_machine`](super::check_machine).
    pub places: DpdkPlaces,
}

/// Where the keys of `[dpdk]` that depend on the machine stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpdkPlaces {
    /// One place per entry of [`Dpdk::workers`].
    pub workers: Vec<Place>,
    /// `memory`, or the table when it is left to its default.
    pub memory: Place,
}

/// `memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// 2 MB or 1 GB pages reserved by the operator.
    Hugepages,
    /// Ordinary pages: laboratories and small links.
    NoHuge,
}

/// `poll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poll {
    /// Pause, then sleep briefly, while nothing arrives.
    Adaptive,
    /// Never yield the CPU.
    Busy,
    /// As adaptive, but sleep for ten milliseconds once nothing has arrived for a while.
    Sleep,
}

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The Unix stream socket.
    pub socket: PathBuf,
    /// The group that may use it besides the relay's user.
    pub group: Option<String>,
    /// The file that keeps the mappings that are changed through it.
    pub store: PathBuf,
}

/// `[metrics]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Where Prometheus may ask over HTTP; none: on the control socket alone.
    pub listen: Option<SocketAddr>,
    /// What is counted for each mapping.
    pub mappings: MappingCounters,
}

/// `metrics.mappings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MappingCounters {
    /// Nothing.
    #[default]
    Off,
    /// The busiest ones, estimated from a sample.
    Busiest,
    /// Every packet and byte of every mapping.
    Exact,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[announce]`, switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Metric of the routes while the relay is healthy.
    pub metric: u32,
    /// Their metric while it is being drained; greater.
    pub drain_metric: u32,
    /// Whether a default route in each family is part of being healthy.
    pub default_route: DefaultRoute,
    /// How long a drain waits between the two metrics' exchange and the end of the routes, in seconds.
    pub drain_lead: u32,
    /// Fewer translated packets a second than this are quiet.
    pub drain_quiet_pps: u32,
    /// For how many seconds it must be quiet until a drain is done.
    pub drain_quiet: u32,
    /// How long a stop waits for traffic to go elsewhere, in seconds.
    pub stop: u32,
}

/// `default_route`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefaultRoute {
    /// In each family, once there has been one.
    Seen,
    /// In both families.
    Required,
    /// Not asked for.
    Ignored,
}

/// One `[[port]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Unique name of at most [`Port::NAME_MAX`] characters; the kernel twin is `bl-<name>`.
    pub name: String,
    /// The DPDK device behind it.
    pub device: Device,
    /// MTU of the port and of its twin: 1280 to 9000.
    pub mtu: u16,
}

impl Port {
    /// Longest port name: Linux allows 15 characters and the twin needs three for `bl-`.
    pub const NAME_MAX: usize = 12;

    /// Name of the kernel twin.
    pub fn twin(&self) -> String {
        format!("bl-{}", self.name)
    }
}

/// A DPDK device as EAL takes it, device arguments included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Device {
    /// A PCI address in full, lower-case form, such as `0000:3b:00.0`, for `-a`.
    Pci(String),
    /// A virtual device, such as `net_af_xdp0,iface=veth0`, for `--vdev`.
    Vdev(String),
}

impl Device {
    /// The whole argument for EAL.
    pub fn argument(&self) -> &str {
        match self {
            Self::Pci(argument) | Self::Vdev(argument) => argument,
        }
    }

    /// The name under which DPDK knows the device: the argument up to its first comma.
    pub fn name(&self) -> &str {
        let argument = self.argument();
        argument.split_once(',').map_or(argument, |(name, _)| name)
    }
}

/// `[translation]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// Border Relay (RFC 7755), Edge Relay (RFC 7756) or plain translator.
    pub role: Role,
    /// RFC 6052 prefixes, disjoint; none where EAMs do all the work. The first is used towards IPv6, all are recognised.
    pub prefixes: Vec<Ipv6Net>,
    /// IPv4 Service Address Pools, disjoint.
    pub service_pools: Vec<Ipv4Net>,
    /// IPv4 ranges reached through the prefix although no EAM covers them.
    pub translatable_pools: Vec<Ipv4Net>,
    /// IPv6 Service Addresses of this Edge Relay, each inside an EAM; empty on a Border Relay.
    pub er_addresses: Vec<Ipv6Net>,
    /// RFC 7757 section 4.2.
    pub hairpin: Hairpin,
    /// RFC 7915 section 4: size of the fragments made when DF is 0.
    pub lowest_ipv6_mtu: u16,
    /// RFC 7915 section 4.5.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// Other choices for some ports, sorted by port, no port twice.
    pub udp_zero_checksum_ports: Vec<(u16, UdpZeroChecksum)>,
    /// Traffic Class towards IPv6.
    pub traffic_class: CopyOr,
    /// Type of Service towards IPv4.
    pub type_of_service: CopyOr,
    /// Whether the relay originates ICMP errors.
    pub icmp_errors: IcmpErrors,
    /// ICMP errors per second and worker under [`IcmpErrors::Limit`].
    pub icmp_error_rate: u32,
    /// RFC 6791: IPv4 sources for ICMPv6 errors whose source has no IPv4 form.
    pub icmp_source_pool: Vec<Ipv4Net>,
    /// How an address of the pool is chosen.
    pub icmp_source_choice: IcmpSourceChoice,
    /// Who speaks for sources without an IPv4 form where the pool is empty.
    pub icmp_source_default: IcmpSourceDefault,
    /// How errors of such sources tell their real IPv6 source.
    pub icmp_source_extension: IcmpSourceExtension,
    /// IPv4 prefixes never translated through the prefix.
    pub denylist: Vec<Ipv4Net>,
    /// RFC 6052 section 3.1.
    pub wkp_strict: bool,
    /// Refuse sources that belong to the other side.
    pub anti_spoof: bool,
    /// Refuse protocol numbers that mean something else in the other family.
    pub guard_protocols: bool,
    /// Forward packets that need no translation; otherwise they are the kernel's.
    pub forward_native: bool,
    /// RFC 1191 plateaus, strictly decreasing.
    pub mtu_plateaus: Vec<u16>,
    /// Whether DF counts on packets that already are fragments.
    pub fragment_df: FragmentDf,
    /// What happens to EAMs that overlap.
    pub eam_overlap: EamOverlap,
}

impl Translation {
    /// RFC 1191 section 7, the default of `mtu_plateaus`.
    pub const MTU_PLATEAUS: [u16; 11] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

    /// The prefix used towards IPv6.
    pub fn prefix(&self) -> Option<Ipv6Net> {
        self.prefixes.first().copied()
    }

    /// Whether an address belongs to the RFC 6791 pool.
    pub fn is_icmp_source(&self, address: Ipv4Addr) -> bool {
        self.icmp_source_pool.iter().any(|pool| pool.contains(&address))
    }
}

/// `role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// RFC 7755.
    BorderRelay,
    /// RFC 7756.
    EdgeRelay,
    /// RFC 7915 and RFC 7757, nothing else.
    Siit,
}

/// `hairpin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hairpin {
    /// RFC 7757 section 4.2.2.
    Intrinsic,
    /// RFC 7757 section 4.2.1.
    Simple,
    /// Not supported on this relay.
    Off,
}

/// `udp_zero_checksum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UdpZeroChecksum {
    /// Drop and count.
    Drop,
    /// Compute the checksum of unfragmented datagrams.
    Compute,
    /// Leave it zero: only for dual translation.
    Forward,
}

/// `traffic_class`, `type_of_service`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyOr {
    /// All eight bits as received.
    Copy,
    /// Always this octet.
    Octet(u8),
}

/// `icmp_errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpErrors {
    /// Every one.
    Send,
    /// At most [`Translation::icmp_error_rate`].
    Limit,
    /// None.
    Off,
}

/// `icmp_source_choice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpSourceChoice {
    /// By a hash of the IPv6 source: traceroute output is stable.
    Hash,
    /// RFC 6791 section 5.
    Random,
}

/// `icmp_source_default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpSourceDefault {
    /// 192.0.0.8.
    Dummy,
    /// The relay's own address towards the destination.
    Own,
}

/// `icmp_source_extension`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpSourceExtension {
    /// None.
    Off,
    /// Node Identification Object (draft-ietf-intarea-extended-icmp-nodeid).
    NodeId,
    /// Interface Information Object (RFC 5837).
    Rfc5837,
}

/// `reload_may_remove`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MayRemove {
    /// One in ten, but 10 in any case, 1000 at most, and never all there are.
    #[default]
    Tenth,
    /// So many.
    Number(u32),
    /// As many as there are.
    All,
}

impl MayRemove {
    /// How many of `mappings` may go.
    #[must_use]
    pub fn of(self, mappings: usize) -> usize {
        match self {
            Self::Tenth => (mappings / 10).clamp(10, 1000).min(mappings.saturating_sub(1)),
            Self::Number(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Self::All => usize::MAX,
        }
    }
}

/// `fragment_df`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FragmentDf {
    /// Answer an oversize fragment with DF set by an ICMP error.
    Respect,
    /// Fragment it further.
    Ignore,
}

/// `eam_overlap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EamOverlap {
    /// A problem.
    Reject,
    /// A warning.
    Warn,
    /// Longest match, silently.
    Allow,
}

/// One Explicit Address Mapping (RFC 7757 section 3.2): the IPv4 suffix is never longer than the IPv6 suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eam {
    /// IPv4 prefix.
    pub ipv4: Ipv4Net,
    /// IPv6 prefix.
    pub ipv6: Ipv6Net,
}

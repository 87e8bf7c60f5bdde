//! The configuration file: what it says, and what is wrong with it. Unknown keys are errors.

mod check;
mod value;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::address::EAM_BASE;
use super::error::PktgenError;
use super::form::{Family, Protocol};
use super::pick::Pattern;

pub use value::{FrameBytes, Mac, Rate};

/// Largest frame on the IPv4 side, frame check sequence included.
pub const LARGEST_FRAME: u16 = 9216;

/// Largest fragment, likewise: with its Fragment header it has the 1,280 bytes every IPv6 link takes, and no translator
/// cuts it again.
pub const LARGEST_FRAGMENT: u16 = 1270;

/// A whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is measured, as results shall name it.
    #[serde(default = "relay")]
    pub device: String,
    /// How DPDK is started.
    #[serde(default)]
    pub dpdk: Dpdk,
    /// The ports, one of each family.
    #[serde(rename = "port")]
    pub ports: Vec<Port>,
    /// What is sent.
    #[serde(default)]
    pub traffic: Traffic,
    /// How it is measured.
    #[serde(default)]
    pub trial: Trial,
}

fn relay() -> String {
    "relay".into()
}

/// `[dpdk]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dpdk {
    /// One CPU sends and receives; of two the first sends and the second receives.
    pub lcores: Vec<usize>,
    /// Where packet memory comes from.
    pub memory: Memory,
    /// How much of it, in MB.
    pub memory_mb: u32,
    /// Further EAL arguments.
    pub extra_args: Vec<String>,
    /// A directory that is made if it is missing; `{sockets}` in a device string stands for it.
    pub sockets: Option<PathBuf>,
}

impl Default for Dpdk {
    fn default() -> Self {
        Self {
            lcores: vec![0],
            memory: Memory::Hugepages,
            memory_mb: 256,
            extra_args: Vec::new(),
            sockets: None,
        }
    }
}

/// `[dpdk] memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// Hugepages.
    Hugepages,
    /// Ordinary pages.
    NoHuge,
}

/// `[[port]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name in results.
    pub name: String,
    /// A PCI address or a virtual device.
    pub device: String,
    /// Which side of the translator it faces.
    pub family: Family,
    /// The source of what it sends, and the destination of what it should receive.
    pub mac: Mac,
    /// The device's port at the other end of the wire.
    pub peer_mac: Mac,
}

/// `[traffic]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traffic {
    /// Which way packets go.
    pub direction: Direction,
    /// Frame size on the IPv4 side.
    pub frame_bytes: FrameBytes,
    /// What is above IP.
    pub protocol: Protocol,
    /// EAMs the device has, from `pktgen eams`.
    pub eams: u32,
    /// Flows of each stream; 0 means as many as EAMs.
    pub flows: u32,
    /// How flows are drawn.
    pub pattern: Pattern,
    /// What L4 ports depend on.
    pub ports: Ports,
    /// Whether UDP over IPv4 has a checksum.
    pub udp_checksum: bool,
    /// Whether every datagram is sent as two fragments.
    pub fragments: bool,
    /// What the device makes of a packet.
    pub expect: Expect,
    /// Per cent of the frames of each port that are native IPv6.
    pub native_ipv6: u8,
    /// Per cent of the frames of each port that are native IPv4.
    pub native_ipv4: u8,
    /// The translation prefix, of 96 bits.
    pub prefix: Ipv6Net,
    /// The IPv4 address of EAM 0.
    pub eam_base: Ipv4Addr,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            direction: Direction::Mixed,
            frame_bytes: FrameBytes::Bytes(64),
            protocol: Protocol::Udp,
            eams: 1,
            flows: 0,
            pattern: Pattern::Uniform,
            ports: Ports::PerPacket,
            udp_checksum: true,
            fragments: false,
            expect: Expect::Translated,
            native_ipv6: 0,
            native_ipv4: 0,
            prefix: Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0x46, 0, 0, 0, 0, 0), 96),
            eam_base: EAM_BASE,
        }
    }
}

impl Traffic {
    /// Flows of each stream.
    #[must_use]
    pub fn flows(&self) -> u32 {
        if self.flows == 0 { self.eams } else { self.flows }
    }
}

/// `[trial]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trial {
    /// Packets per second over all streams.
    pub rate: Rate,
    /// How long one trial sends.
    pub seconds: f64,
    /// How long late frames are waited for at most.
    pub drain_ms: u64,
    /// How long the first frames of every stream are waited for at most, before the first trial.
    pub ready_seconds: f64,
    /// How often a procedure measures each point; results are medians.
    pub repetitions: u32,
    /// How close a search comes to the throughput, as a share of it.
    pub precision: f64,
    /// Share of frames that may be lost in a trial that still passes; RFC 2544 and 8219 want 0.
    pub loss_tolerance: f64,
    /// Frame sizes the procedures go through; empty means `[traffic] frame_bytes` only.
    pub sizes: Vec<FrameBytes>,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            rate: Rate::Max,
            seconds: 2.0,
            drain_ms: 200,
            ready_seconds: 10.0,
            repetitions: 1,
            precision: 0.01,
            loss_tolerance: 0.0,
            sizes: Vec::new(),
        }
    }
}

/// `direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Direction {
    /// Clients to services.
    #[serde(rename = "v4_to_v6")]
    #[clap(name = "v4_to_v6")]
    V4ToV6,
    /// Services to clients.
    #[serde(rename = "v6_to_v4")]
    #[clap(name = "v6_to_v4")]
    V6ToV4,
    /// Both, half of the packets each.
    Mixed,
}

/// `ports`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ports {
    /// Other pseudorandom ports in every packet (RFC 4814).
    PerPacket,
    /// Pseudorandom ports, the same for all packets of a flow.
    PerFlow,
}

/// `expect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// A translator: packets come out of the other port in the other family.
    Translated,
    /// They come back as they were, from either port: testpmd io.
    Unchanged,
    /// They come back with their MAC addresses swapped, from either port: testpmd macswap.
    Macswapped,
}

impl Config {
    /// Reads a file. See [`Config::parse`].
    ///
    /// # Errors
    /// [`PktgenError::Config`], or what keeps the file from being read.
    pub fn load(path: &Path) -> Result<Self, PktgenError> {
        let text = std::fs::read_to_string(path).map_err(PktgenError::file(path))?;
        Self::parse(&text).map_err(|problems| PktgenError::Config { file: path.to_owned(), problems })
    }

    /// Reads the text of a file, without checking what the values mean together: the command line may still change
    /// some. See [`Config::problems`].
    ///
    /// # Errors
    /// What TOML does not understand.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', "\n  "))
    }

    /// The frame sizes a procedure goes through.
    #[must_use]
    pub fn sizes(&self) -> Vec<FrameBytes> {
        if self.trial.sizes.is_empty() { vec![self.traffic.frame_bytes] } else { self.trial.sizes.clone() }
    }

    /// The port of a family.
    ///
    /// # Panics
    /// When there is none: [`Config::problems`] says so before.
    #[must_use]
    pub fn port(&self, family: Family) -> &Port {
        self.ports.iter().find(|port| port.family == family).expect("one port of each family was checked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example a reader starts from.
    fn documented() -> Config {
        let readme = include_str!("../../README.md");
        let (_, example) =
            readme.split_once("    device = \"relay\"").expect("the example begins with the device");
        let (example, _) = example.split_once("**Frame sizes**").expect("and ends before the frame sizes");
        Config::parse(&format!("device = \"relay\"{example}")).expect("it is a configuration")
    }

    #[test]
    fn the_documented_configuration_has_the_defaults() {
        let documented = documented();
        assert_eq!(documented.problems(), Vec::<String>::new());
        assert_eq!(format!("{:?}", documented.traffic), format!("{:?}", Traffic::default()));
        assert_eq!(format!("{:?}", documented.trial), format!("{:?}", Trial::default()));
        let dpdk = Dpdk { sockets: documented.dpdk.sockets.clone(), ..Dpdk::default() };
        assert_eq!(format!("{:?}", documented.dpdk), format!("{dpdk:?}"));
    }

    #[test]
    fn values_are_read_from_numbers_and_text() {
        assert_eq!("imix".parse(), Ok(FrameBytes::Imix));
        assert_eq!("9216".parse(), Ok(FrameBytes::Bytes(9216)));
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("1e6".parse(), Ok(Rate::PerSecond(1e6)));
        for text in ["0", "-5", "inf", "NaN", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!(Mac::try_from("02:00:00:00:00:fE".to_owned()), Ok(Mac([2, 0, 0, 0, 0, 0xfe])));
        for text in ["02:00:00:00:00", "02:00:00:00:00:0g", "2:00:00:00:00:001", "01:00:5e:00:00:01", ""] {
            assert!(Mac::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}

//! What the data path would do with one packet, and why.

use serde::{Deserialize, Serialize};

/// A packet to explain: by its bytes, or by what is to be in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// The port that receives it, by name; none means the one its source is reached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The VLAN it comes in, 0 to 4094; none means untagged, or that of the interface its source is reached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// It comes as a broadcast or multicast of the link layer.
    pub group: bool,
    /// The whole packet as hexadecimal digits: from its IP header on, or from its Ethernet header on. Blanks and colons are
    /// ignored. Nothing below is given then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// Whether the digits begin with an Ethernet header; found out if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<bool>,
    /// Source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Destination address, of the same family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// `tcp`, `udp`, `icmp` or a protocol number; `tcp` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// Source port of TCP and UDP, identifier of an echo request; 49152 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port of TCP and UDP; 443 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// Bytes of the IP packet; as few as there must be if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// DF of an IPv4 packet; set if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub df: Option<bool>,
    /// Time to Live or hop limit; 64 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Type of Service or Traffic Class; 0 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
}

/// A table entry, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Used {
    /// The entry: `192.0.2.1/32 = 2001:db8:12:34::1/128`, a prefix, a pool, a route.
    pub entry: String,
    /// Where it comes from: `relay.toml, line 18`, `store, revision 7`, `kernel, table main, protocol static`.
    pub origin: String,
}

/// One question the data path asks about the packet, with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Phase {
    /// Which question: `input`, `parse`, `class`, `payload`, `source`, `destination`, `quoted_source`, `quoted_destination`,
    /// `turn`, `next_hop`, `size`, `refusal`, `answer`, `output`.
    pub name: String,
    /// The answer in a word or an address.
    pub result: String,
    /// The same in a sentence.
    pub text: String,
    /// The entry that decides, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// Further entries that cover the address and lose against it, longest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<Used>,
    /// The section that says so: `RFC 7757 3.3.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The MTU that counts here, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

/// One field of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Field {
    /// Its name, with that of its header: `ipv4.ttl`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A packet that leaves the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leaving {
    /// The port; `box` for what the box itself gets.
    pub port: String,
    /// The whole frame in hexadecimal; the IP packet alone while the next hop has no link-layer address.
    pub frame: String,
    /// Field by field.
    pub fields: Vec<Field>,
}

/// A counter that grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Growth {
    /// Its name, as in `counters`: `dropped.no_route`.
    pub name: String,
    /// By so much.
    pub by: u64,
}

/// What the data path would do with a packet, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// `translated`, `hairpinned`, `native`, `icmp_error`, `dropped` or `punted`, as in the report of `borderline translate`.
    pub verdict: String,
    /// Why it was dropped or punted, in the report's words.
    pub reason: Option<String>,
    /// What the reason means, and what to look at.
    pub advice: Option<String>,
    /// Every question, in its order.
    pub phases: Vec<Phase>,
    /// The IP packet as it came, in hexadecimal.
    pub r#in: String,
    /// The IP packets that leave, in hexadecimal, in their order.
    pub out: Vec<String>,
    /// The frame as the port receives it, in hexadecimal: send it to that port to replay it.
    pub frame: String,
    /// The port that receives it.
    pub port: String,
    /// The packet as it came, field by field.
    pub before: Vec<Field>,
    /// What leaves.
    pub after: Vec<Leaving>,
    /// The counters that grow, those of the ports left out.
    pub counters: Vec<Growth>,
    /// Whether it takes the express lane, as nearly all traffic does.
    pub express: bool,
    /// The generation of the tables that were asked: those the workers use.
    pub generation: u64,
    /// The dropped packet it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sampled>,
}

/// A packet that was dropped, and whether it would be now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sampled {
    /// Its number in the list of dropped packets.
    pub id: u64,
    /// Why it was dropped.
    pub reason: String,
    /// When, RFC 3339, UTC.
    pub time: String,
    /// Whether it would be dropped for the same reason now.
    pub still: bool,
}

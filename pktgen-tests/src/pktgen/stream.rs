//! A stream: packets of one kind going one way. What is sent of it, what should arrive, and where.

use dataplane::wire::checksum::Sum;

use super::address::{Endpoints, Ends};
use super::config::{Config, Direction, Expect, FrameBytes, Ports};
use super::form::{Family, Form, IPV4_OVERHEAD, Part, Protocol};
use super::hash::mix;
use super::pick::{Picker, ports};
use super::tag::Tag;
use super::template::{Packet, Template};

/// The hop count packets are sent with.
const HOPS: u8 = 64;
/// The largest IPv4 packet a translator sends with DF 0 and an identification of its own (RFC 7915 5.1).
const SMALL: usize = 1260;

/// Everything about a stream that does not change. The same for its sender and its receiver.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its number in tags.
    pub id: u8,
    /// Its name in results.
    pub name: &'static str,
    /// The port it is sent to: 0 faces IPv4, 1 faces IPv6.
    pub from: usize,
    /// The port it should arrive at; none when either will do.
    pub to: Option<usize>,
    /// What is sent: one template per frame size, or the two fragments of a datagram.
    pub sent: Vec<Template>,
    /// What should arrive, in the same order.
    pub expected: Vec<Template>,
    /// Which of `sent` each packet of a round is.
    pub round: Vec<usize>,
    picker: Picker,
    endpoints: Endpoints,
    ports: Ports,
    /// Whether a pair of packets is one datagram.
    fragments: bool,
}

/// Port number of the side that faces IPv4.
pub const IPV4: usize = 0;
/// Port number of the side that faces IPv6.
pub const IPV6: usize = 1;

impl Stream {
    /// The flow packet `sequence` belongs to.
    #[inline]
    #[must_use]
    pub fn flow(&self, sequence: u64) -> u32 {
        let number = self.datagram(sequence);
        self.picker.flow(number, mix(number))
    }

    /// How many flows there are.
    #[must_use]
    pub const fn flows(&self) -> u32 {
        self.picker.flows()
    }

    /// Whether pairs of packets are one datagram.
    #[must_use]
    pub const fn fragments(&self) -> bool {
        self.fragments
    }

    /// What its two ends are.
    #[must_use]
    pub const fn ends(&self) -> Ends {
        self.endpoints.ends()
    }

    /// The addresses of its flows.
    #[must_use]
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The tag of packet `sequence`, sent at `time`.
    #[inline]
    #[must_use]
    pub fn tag(&self, sequence: u64, time: u64) -> Tag {
        Tag { stream: self.id, flow: self.flow(sequence), sequence, time }
    }

    /// The packet that has this tag.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "identifications are 16 bits of the number")]
    pub fn packet(&self, tag: Tag) -> Packet {
        let number = self.datagram(tag.sequence);
        let hash = match self.ports {
            Ports::PerPacket => mix(number),
            Ports::PerFlow => mix(u64::from(tag.flow)),
        };
        let l4_ports = ports(hash);
        let l4_ports = if self.endpoints.reverse() { l4_ports.rotate_left(16) } else { l4_ports };
        let whole = Packet {
            flow: tag.flow,
            ports: l4_ports,
            identification: 0,
            tag: tag.words(),
            beyond: Sum::ZERO,
        };
        if !self.fragments {
            return whole;
        }
        let fragment = Packet { identification: u32::from(number as u16), ..whole };
        if tag.sequence & 1 == 1 {
            return Packet { ports: guard(fragment.tag), ..fragment };
        }
        let other = Tag { sequence: tag.sequence ^ 1, ..tag }.words();
        let beyond = Sum::of_u64(other[0]) + Sum::of_u64(other[1]) + Sum::of_u32(guard(other));
        Packet { beyond, ..fragment }
    }

    #[inline]
    const fn datagram(&self, sequence: u64) -> u64 {
        if self.fragments { sequence >> 1 } else { sequence }
    }
}

/// A hash of its tag, which a last fragment has where others have ports: no checksum covers it.
#[allow(clippy::cast_possible_truncation, reason = "32 bits of the hash are enough")]
const fn guard(tag: [u64; 2]) -> u32 {
    mix(mix(tag[0]) ^ tag[1]) as u32
}

/// The streams of a configuration, with frames of `size`.
#[must_use]
pub fn streams(config: &Config, size: FrameBytes) -> Vec<Stream> {
    let traffic = &config.traffic;
    let natives = usize::from(traffic.native_ipv4) + usize::from(traffic.native_ipv6);
    let directions: &[bool] = match traffic.direction {
        Direction::V4ToV6 => &[false],
        Direction::V6ToV4 => &[true],
        Direction::Mixed => &[false, true],
    };
    let mut streams = Vec::new();
    for &reverse in directions {
        let mut add = |ends| {
            let id = u8::try_from(streams.len()).expect("there are six kinds of streams");
            streams.push(stream(config, size, id, ends, reverse));
        };
        if natives < 100 {
            add(Ends::Translated);
        }
        if traffic.native_ipv6 > 0 {
            add(Ends::NativeV6);
        }
        if traffic.native_ipv4 > 0 {
            add(Ends::NativeV4);
        }
    }
    streams
}

fn stream(config: &Config, size: FrameBytes, id: u8, ends: Ends, reverse: bool) -> Stream {
    let traffic = &config.traffic;
    let fragments = traffic.fragments && ends == Ends::Translated;
    let parts: &[Option<Part>] = if fragments { &[Some(Part::First), Some(Part::Last)] } else { &[None] };
    let sizes = size.round();
    let mut distinct = sizes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let forms: Vec<(Form, Form)> = distinct
        .iter()
        .flat_map(|&bytes| parts.iter().map(move |&part| (bytes, part)))
        .map(|(bytes, part)| forms(config, bytes, part, ends, reverse))
        .collect();
    let place = |bytes: &u16| distinct.binary_search(bytes).expect("it is one of them") * parts.len();
    Stream {
        id,
        name: name(ends, reverse),
        from: usize::from(reverse),
        to: (traffic.expect == Expect::Translated).then_some(usize::from(!reverse)),
        sent: forms.iter().map(|(sent, _)| Template::new(sent)).collect(),
        expected: forms.iter().map(|(_, expected)| Template::new(expected)).collect(),
        round: sizes.iter().flat_map(|bytes| (0..parts.len()).map(move |part| place(bytes) + part)).collect(),
        picker: Picker::new(traffic.pattern, traffic.flows()),
        endpoints: Endpoints::new(
            ends,
            reverse,
            traffic.prefix.addr(),
            traffic.eam_base,
            traffic.flows(),
            traffic.eams,
        ),
        ports: traffic.ports,
        fragments,
    }
}

const fn name(ends: Ends, reverse: bool) -> &'static str {
    match (ends, reverse) {
        (Ends::Translated, false) => "v4_to_v6",
        (Ends::Translated, true) => "v6_to_v4",
        (Ends::NativeV6, false) => "native_ipv6_to_v6_port",
        (Ends::NativeV6, true) => "native_ipv6_to_v4_port",
        (Ends::NativeV4, false) => "native_ipv4_to_v6_port",
        (Ends::NativeV4, true) => "native_ipv4_to_v4_port",
    }
}

/// What is sent, and what should arrive. A frame of `bytes` in IPv4 is 20 bytes longer in IPv6, and native IPv6 frames
/// are as long as translated ones (RFC 8219 5.1).
fn forms(config: &Config, bytes: u16, part: Option<Part>, ends: Ends, reverse: bool) -> (Form, Form) {
    let traffic = &config.traffic;
    let (near, far) = if reverse { (Family::Ipv6, Family::Ipv4) } else { (Family::Ipv4, Family::Ipv6) };
    let family = match ends {
        Ends::Translated => near,
        Ends::NativeV6 => Family::Ipv6,
        Ends::NativeV4 => Family::Ipv4,
    };
    let port = config.port(near);
    let payload = usize::from(bytes) - IPV4_OVERHEAD;
    let sent = Form {
        family,
        protocol: traffic.protocol,
        source_mac: port.mac.0,
        destination_mac: port.peer_mac.0,
        hops: HOPS,
        payload: if part.is_some() { payload.next_multiple_of(8) } else { payload },
        part,
        dont_fragment: part.is_none(),
        any_identification: false,
        reverse,
        no_checksum: !traffic.udp_checksum && traffic.protocol == Protocol::Udp && family == Family::Ipv4,
    };
    let expected = match traffic.expect {
        Expect::Unchanged => sent,
        Expect::Macswapped => {
            Form { source_mac: sent.destination_mac, destination_mac: sent.source_mac, ..sent }
        }
        Expect::Translated => {
            let port = config.port(far);
            let forwarded =
                Form { source_mac: port.peer_mac.0, destination_mac: port.mac.0, hops: HOPS - 1, ..sent };
            if ends == Ends::Translated { translated(forwarded, far) } else { forwarded }
        }
    };
    (sent, expected)
}

/// RFC 7915 4.1 and 5.1, as far as packets of ours are concerned.
fn translated(form: Form, far: Family) -> Form {
    let small = form.payload + 20 <= SMALL;
    Form {
        family: far,
        dont_fragment: form.part.is_none() && !small,
        any_identification: far == Family::Ipv4 && form.part.is_none() && small,
        no_checksum: false,
        ..form
    }
}

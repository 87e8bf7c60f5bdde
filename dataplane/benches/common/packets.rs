//! The frames that are measured: templates whose addresses are replaced for every packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::testing;
use dataplane::wire::checksum::{Delta, Sum, adjust_udp};

use crate::common::keys::{service_v4, service_v6};
use crate::common::slab::SlabBuffer;

/// Writes the n-th frame of a row; returns the port it arrives at.
pub(crate) type Make = Box<dyn FnMut(u32, &mut SlabBuffer) -> usize>;

// Offsets in an untagged frame.
const IPV4: usize = 14;
const IPV4_CHECKSUM: usize = IPV4 + 10;
const BEHIND_V4: usize = IPV4 + 20;
const BEHIND_V6: usize = 14 + 40;
const UDP_CHECKSUM: usize = 6;
const TCP_CHECKSUM: usize = 16;
const ICMP_CHECKSUM: usize = 2;

const ICMPV4: u8 = 1;
const TCP: u8 = 6;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;

/// The smallest frame: 60 bytes and the frame check sequence.
const DATA: [u8; 18] = [7; 18];

// Addresses of the templates, all of which are replaced.
const CLIENT_V4: &str = "8.0.0.0";
const SERVICE_V4: &str = "100.64.0.0";
const CLIENT_V6: &str = "2001:db8:46::";
const SERVICE_V6: &str = "2001:db8:e::";

/// UDP from a client to one of `eams` services.
pub(crate) fn udp_v4_to_v6(eams: u32) -> Make {
    let packet = testing::udp_v4(CLIENT_V4, SERVICE_V4, &DATA);
    from_v4(&packet, eams, &[IPV4_CHECKSUM, BEHIND_V4 + UDP_CHECKSUM])
}

/// UDP from one of `eams` services to a client.
pub(crate) fn udp_v6_to_v4(eams: u32) -> Make {
    let packet = testing::udp_v6(SERVICE_V6, CLIENT_V6, &DATA);
    from_v6(&packet, eams, &[BEHIND_V6 + UDP_CHECKSUM])
}

/// The same to clients from 11.0.0.0 to 99.255.255.255.
pub(crate) fn udp_v6_to_anywhere(eams: u32) -> Make {
    let mut outer = udp_v6_to_v4(eams);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        let to = embedded((0x0b00_0000 + pick(!number, 0x5900_0000)).into());
        patch(buffer.frame(), 38, &to.octets(), &[BEHIND_V6 + UDP_CHECKSUM]);
        port
    })
}

/// Both by turns.
pub(crate) fn mixed(eams: u32) -> Make {
    let (mut there, mut back) = (udp_v4_to_v6(eams), udp_v6_to_v4(eams));
    Box::new(
        move |number, buffer| {
            if number.is_multiple_of(2) { there(number, buffer) } else { back(number, buffer) }
        },
    )
}

/// UDP without a checksum.
pub(crate) fn udp_without_checksum(eams: u32) -> Make {
    let mut packet = testing::udp_v4(CLIENT_V4, SERVICE_V4, &DATA);
    packet[26..28].fill(0);
    from_v4(&packet, eams, &[IPV4_CHECKSUM])
}

/// TCP, the acknowledgement of nothing.
pub(crate) fn tcp_v4_to_v6(eams: u32) -> Make {
    let packet = testing::ipv4(CLIENT_V4, SERVICE_V4, TCP, &tcp());
    from_v4(&packet, eams, &[IPV4_CHECKSUM, BEHIND_V4 + TCP_CHECKSUM])
}

/// The same from IPv6.
pub(crate) fn tcp_v6_to_v4(eams: u32) -> Make {
    let packet = testing::ipv6(SERVICE_V6, CLIENT_V6, TCP, &tcp());
    from_v6(&packet, eams, &[BEHIND_V6 + TCP_CHECKSUM])
}

/// A header and six bytes. Nobody looks at the checksum.
fn tcp() -> Vec<u8> {
    let mut segment =
        vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0x12, 0x34, 0, 0];
    segment.extend_from_slice(&[7; 6]);
    segment
}

/// An echo request.
pub(crate) fn echo_v4_to_v6(eams: u32) -> Make {
    let message = [8, 0, 0x6f, 0x6f, 0x12, 0x34, 0, 1, 1, 2, 3, 4];
    from_v4(&testing::ipv4(CLIENT_V4, SERVICE_V4, ICMPV4, &message), eams, &[IPV4_CHECKSUM])
}

/// An echo reply.
pub(crate) fn echo_v6_to_v4(eams: u32) -> Make {
    let message = [129, 0, 0x6f, 0x6f, 0x12, 0x34, 0, 1, 1, 2, 3, 4];
    from_v6(&testing::ipv6(SERVICE_V6, CLIENT_V6, ICMPV6, &message), eams, &[BEHIND_V6 + ICMP_CHECKSUM])
}

/// The first fragment of a datagram.
pub(crate) fn first_fragment_v4_to_v6(eams: u32) -> Make {
    let mut packet = testing::udp_v4(CLIENT_V4, SERVICE_V4, &DATA[..16]);
    testing::set_fragment_v4(&mut packet, 7, false, true, 0);
    from_v4(&packet, eams, &[IPV4_CHECKSUM, BEHIND_V4 + UDP_CHECKSUM])
}

/// The last fragment of a datagram.
pub(crate) fn later_fragment_v4_to_v6(eams: u32) -> Make {
    let mut packet = testing::udp_v4(CLIENT_V4, SERVICE_V4, &DATA[..16]);
    testing::set_fragment_v4(&mut packet, 7, false, false, 100);
    from_v4(&packet, eams, &[IPV4_CHECKSUM])
}

/// The first fragment of a datagram.
pub(crate) fn first_fragment_v6_to_v4(eams: u32) -> Make {
    from_v6(&fragment_v6([0, 1]), eams, &[BEHIND_V6 + 8 + UDP_CHECKSUM])
}

/// The last fragment of a datagram.
pub(crate) fn later_fragment_v6_to_v4(eams: u32) -> Make {
    from_v6(&fragment_v6((100_u16 << 3).to_be_bytes()), eams, &[])
}

/// A datagram behind a Fragment header with this offset and M flag.
fn fragment_v6([high, low]: [u8; 2]) -> Vec<u8> {
    let datagram = testing::udp_v6(SERVICE_V6, CLIENT_V6, &DATA[..16]);
    let mut payload = vec![17, 0, high, low, 0, 0, 0, 7];
    payload.extend_from_slice(&datagram[40..]);
    testing::ipv6(SERVICE_V6, CLIENT_V6, FRAGMENT, &payload)
}

/// Time exceeded, quoting a packet of a mapped host: inner addresses mirror the outer ones.
pub(crate) fn error_v4_to_v6(eams: u32) -> Make {
    const QUOTE: usize = BEHIND_V4 + 8;
    const CHECKSUMS: [usize; 2] = [QUOTE + 10, QUOTE + 20 + UDP_CHECKSUM];
    let quoted = testing::udp_v4(SERVICE_V4, CLIENT_V4, &DATA);
    let mut message = vec![11, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let checksum = Sum::of(&message).checksum().to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    let packet = testing::ipv4(CLIENT_V4, SERVICE_V4, ICMPV4, &message);
    let mut outer = from_v4(&packet, eams, &[IPV4_CHECKSUM]);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        // The message's own checksum does not change: the quoted one takes the addresses' change back.
        let frame = buffer.frame();
        patch(frame, QUOTE + 12, &service_v4(pick(number, eams)).octets(), &CHECKSUMS);
        patch(frame, QUOTE + 16, &client(number).octets(), &CHECKSUMS);
        port
    })
}

/// Port unreachable, quoting likewise.
pub(crate) fn error_v6_to_v4(eams: u32) -> Make {
    const QUOTE: usize = BEHIND_V6 + 8;
    let quoted = testing::udp_v6(CLIENT_V6, SERVICE_V6, &DATA);
    let mut message = vec![1, 4, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let packet = testing::ipv6(SERVICE_V6, CLIENT_V6, ICMPV6, &message);
    let mut outer = from_v6(&packet, eams, &[]);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        let frame = buffer.frame();
        patch(frame, QUOTE + 8, &embedded(client(number)).octets(), &[]);
        patch(frame, QUOTE + 24, &service_v6(pick(number, eams)).octets(), &[]);
        port
    })
}

/// From one mapped host to another by its IPv4 address.
pub(crate) fn hairpin(eams: u32) -> Make {
    let mut outer = udp_v6_to_v4(eams);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        let to = embedded(service_v4(pick(number + 1, eams)));
        patch(buffer.frame(), 38, &to.octets(), &[BEHIND_V6 + UDP_CHECKSUM]);
        port
    })
}

/// From a client to a client: forwarded as it is.
pub(crate) fn native_v4() -> Make {
    let mut outer = udp_v4_to_v6(1);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        let to = client(!number).octets();
        patch(buffer.frame(), 30, &to, &[IPV4_CHECKSUM, BEHIND_V4 + UDP_CHECKSUM]);
        port
    })
}

/// From a service to one without a mapping: forwarded as it is.
pub(crate) fn native_v6(eams: u32) -> Make {
    let mut outer = udp_v6_to_v4(eams);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        let to = Ipv6Addr::from_bits(service_v6(number).to_bits() | 1 << 80);
        patch(buffer.frame(), 38, &to.octets(), &[BEHIND_V6 + UDP_CHECKSUM]);
        port
    })
}

/// From a service to natives: forwarded as it is.
#[allow(dead_code, reason = "benchmarks use different parts of it")]
pub(crate) fn native_v6_to(eams: u32, natives: Vec<Ipv6Addr>) -> Make {
    let mut outer = udp_v6_to_v4(eams);
    Box::new(move |number, buffer| {
        let port = outer(number, buffer);
        let to = natives[number as usize % natives.len()];
        patch(buffer.frame(), 38, &to.octets(), &[BEHIND_V6 + UDP_CHECKSUM]);
        port
    })
}

/// An IPv4 template whose addresses are replaced for every packet: client to service. `checksums` cover them.
fn from_v4(packet: &[u8], eams: u32, checksums: &'static [usize]) -> Make {
    let template = testing::frame(testing::MAC_V4, packet);
    Box::new(move |number, buffer| {
        buffer.fill(&template);
        let frame = buffer.frame();
        patch(frame, 26, &client(number).octets(), checksums);
        patch(frame, 30, &service_v4(pick(number, eams)).octets(), checksums);
        0
    })
}

/// An IPv6 template whose addresses are replaced for every packet: service to client.
fn from_v6(packet: &[u8], eams: u32, checksums: &'static [usize]) -> Make {
    let template = testing::frame(testing::MAC_V6, packet);
    Box::new(move |number, buffer| {
        buffer.fill(&template);
        let frame = buffer.frame();
        patch(frame, 22, &service_v6(pick(number, eams)).octets(), checksums);
        patch(frame, 38, &embedded(client(number)).octets(), checksums);
        1
    })
}

/// Replaces bytes of a frame and adjusts the checksums at `checksums` for them.
fn patch(frame: &mut [u8], at: usize, new: &[u8], checksums: &[usize]) {
    let delta = Delta::new(Sum::of(&frame[at..at + new.len()]), Sum::of(new));
    frame[at..at + new.len()].copy_from_slice(new);
    for field in checksums {
        let old = u16::from_be_bytes([frame[*field], frame[*field + 1]]);
        frame[*field..*field + 2].copy_from_slice(&adjust_udp(old, delta).to_be_bytes());
    }
}

/// A random mapping for the n-th packet.
fn pick(number: u32, eams: u32) -> u32 {
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (((mixed >> 32) * u64::from(eams)) >> 32) as u32
}

fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0800_0000 | number.wrapping_mul(0x9e37_79b1) >> 8)
}

fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8_0046 << 80 | u128::from(address.to_bits()))
}

//! The frame a question is about, and the interface it is received on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control_api::{Question, Refusal};
use dataplane::table::fib::{Fib, Path};
use dataplane::table::routing::{Interface, InterfaceId, PortId};
use dataplane::wire::ethernet;

use super::packet::{self, invalid};

/// Who sends the frames that are made up: a locally administered address.
const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// Largest VLAN identifier.
const LAST_VLAN: u16 = 4094;

/// A frame, and where it comes in.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) port: PortId,
    pub(super) frame: Vec<u8>,
    /// How it was made, in a sentence.
    pub(super) text: String,
}

/// The frame of `question`. `ports` are the names of the ports, in their order.
pub(super) fn of(question: &Question, fib: &Fib, ports: &[String]) -> Result<Input, Refusal> {
    let given = question.hex.as_deref().map(packet::bytes).transpose()?;
    let is_made = given.is_none();
    let bytes = match given {
        None => packet::make(question)?,
        Some(bytes) if describes(question) => {
            return Err(invalid(
                format!("hex has all {} bytes of the packet, and something else is said of it", bytes.len()),
                "give hex alone, with port, vlan and group at most",
            ));
        }
        Some(bytes) => bytes,
    };
    let named = question.port.as_deref().map(|name| port(name, ports)).transpose()?;
    if question.frame.unwrap_or(!is_made && looks_like_frame(&bytes)) {
        let port = named.unwrap_or_else(|| owner(&bytes, fib));
        let text = format!("a frame of {} bytes, received by port {}", bytes.len(), name(port, ports));
        return Ok(Input { port, frame: bytes, text });
    }
    let (interface, why) = interface(question, &bytes, named, fib)?;
    let group = question.group || is_multicast(&bytes);
    let destination = match &interface {
        _ if group => [0xff; 6],
        Ok(interface) => interface.mac.0,
        Err(_) => fib.interfaces().first().map_or([0; 6], |interface| interface.mac.0),
    };
    let (port, vlan) = match interface {
        Ok(interface) => (interface.port, interface.vlan),
        Err((port, vlan)) => (port, Some(vlan)),
    };
    let frame = framed(&bytes, destination, vlan);
    let vlan = vlan.map_or_else(String::new, |vlan| format!(", VLAN {vlan}"));
    let text = format!("{} bytes, received by port {}{vlan}{why}", bytes.len(), name(port, ports));
    Ok(Input { port, frame, text })
}

/// Whether anything but the bytes is given.
const fn describes(question: &Question) -> bool {
    let Question { src, dst, proto, sport, dport, size, df, ttl, tos, .. } = question;
    src.is_some()
        || dst.is_some()
        || proto.is_some()
        || sport.is_some()
        || dport.is_some()
        || size.is_some()
        || df.is_some()
        || ttl.is_some()
        || tos.is_some()
}

fn port(name: &str, ports: &[String]) -> Result<PortId, Refusal> {
    // The twin's name is what `ip` shows.
    let name = name.strip_prefix(control::kernel::PREFIX).unwrap_or(name);
    (0..).map(PortId).zip(ports).find(|(_, port)| *port == name).map(|(id, _)| id).ok_or_else(|| {
        invalid(format!("there is no port {name:?}"), format!("the ports are {}", ports.join(", ")))
    })
}

pub(super) fn name(port: PortId, ports: &[String]) -> String {
    ports.get(usize::from(port.0)).cloned().unwrap_or_else(|| port.0.to_string())
}

/// The interface that receives a packet, or the VLAN of a port that is none.
type Ingress<'f> = Result<&'f Interface, (PortId, u16)>;

/// Where the packet comes in, and why it is thought so.
fn interface<'f>(
    question: &Question,
    packet: &[u8],
    named: Option<PortId>,
    fib: &'f Fib,
) -> Result<(Ingress<'f>, &'static str), Refusal> {
    if question.vlan.is_some_and(|vlan| vlan > LAST_VLAN) {
        return Err(invalid("there is no such VLAN".to_owned(), format!("give 0 to {LAST_VLAN}")));
    }
    // By the table that its own packets are looked up in: that of its VRF, where it is in one.
    let leads_back = |interface: &&Interface| {
        source(packet).and_then(|source| egress(fib.lookup_in(interface.table, source, || 0)))
            == Some(interface.id)
    };
    let back = |port: Option<PortId>, vlan: Option<u16>| {
        fib.interfaces()
            .iter()
            .filter(|found| port.is_none_or(|port| port == found.port))
            .filter(|found| vlan.is_none() || found.vlan == vlan)
            .find(leads_back)
    };
    let first = |port: PortId| fib.interfaces().iter().find(|interface| interface.port == port);
    let (found, why) = match (named, question.vlan) {
        (Some(port), Some(vlan)) => match fib.ingress(port, Some(vlan)) {
            Some(found) => return Ok((Ok(found), "")),
            None => return Ok((Err((port, vlan)), "")),
        },
        (Some(port), None) => {
            (fib.ingress(port, None).or_else(|| back(Some(port), None)).or_else(|| first(port)), "")
        }
        (None, vlan) => {
            let by_route = back(None, vlan);
            let by_vlan =
                || fib.interfaces().iter().find(|interface| vlan.is_some() && interface.vlan == vlan);
            match by_route {
                Some(found) => (Some(found), ", by which its source is reached"),
                None => {
                    (by_vlan().or_else(|| fib.interfaces().first()), ", for want of a route to its source")
                }
            }
        }
    };
    match found {
        Some(found) => Ok((Ok(found), why)),
        None => Err(Refusal::new(
            control_api::Code::Unavailable,
            "the relay knows no interface of its ports yet",
            "wait a moment; `borderctl status` shows whether the kernel's routes have been read",
        )),
    }
}

const fn egress(path: &Path) -> Option<InterfaceId> {
    match path {
        Path::Adjacent(adjacency) => Some(adjacency.interface),
        Path::Unresolved { interface, .. } => Some(*interface),
        _ => None,
    }
}

fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?).into()),
        _ => Some(Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?).into()),
    }
}

fn is_multicast(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.get(16..20).is_some_and(|octets| octets[0] & 0xf0 == 0xe0 || octets == [0xff; 4]),
        _ => packet.get(24) == Some(&0xff),
    }
}

/// The port whose address a frame is for; the first one if none is.
fn owner(frame: &[u8], fib: &Fib) -> PortId {
    let is_for = |interface: &&Interface| frame.starts_with(&interface.mac.0);
    fib.interfaces().iter().find(is_for).map_or(PortId(0), |interface| interface.port)
}

fn framed(packet: &[u8], destination: [u8; 6], vlan: Option<u16>) -> Vec<u8> {
    let mut frame = [destination, SENDER].concat();
    if let Some(vlan) = vlan {
        frame.extend(ethernet::TYPE_VLAN.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    let is_ipv6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
    let ether_type = if is_ipv6 { ethernet::TYPE_IPV6 } else { ethernet::TYPE_IPV4 };
    frame.extend(ether_type.to_be_bytes());
    frame.extend_from_slice(packet);
    frame
}

/// Whether the bytes begin with an Ethernet header rather than with that of IP.
fn looks_like_frame(bytes: &[u8]) -> bool {
    let length =
        |at: usize| bytes.get(at..at + 2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
    let is_packet = match bytes.first().map(|byte| byte >> 4) {
        Some(4) => length(2).is_some_and(|total| (20..=bytes.len()).contains(&total)),
        Some(6) => length(4).is_some_and(|payload| 40 + payload <= bytes.len()),
        _ => false,
    };
    let ether_type = ethernet::Header::parse(bytes).map(|header| (header.ether_type, header.length));
    match ether_type {
        Ok((ethernet::TYPE_IPV4, at)) => bytes.get(at).is_some_and(|byte| byte >> 4 == 4) && !is_packet,
        Ok((ethernet::TYPE_IPV6, at)) => bytes.get(at).is_some_and(|byte| byte >> 4 == 6) && !is_packet,
        Ok(_) => !is_packet && !matches!(bytes[0] >> 4, 4 | 6),
        Err(ethernet::TooShort) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::table::compiler::Compiler;
    use dataplane::table::routing::{Change, Hop, MacAddress, Route, RouteAction, TableId};

    #[test]
    fn the_port_of_a_source_is_found_by_the_table_of_its_vrf() {
        let mut compiler = Compiler::default();
        for number in 0..2 {
            compiler.apply(Change::Interface(Interface {
                id: InterfaceId(number),
                port: PortId(number),
                vlan: None,
                table: TableId(number),
                mac: MacAddress::default(),
                extra_macs: Vec::new(),
                mtu: 1500,
                up: true,
                ipv4_source: None,
                ipv6_source: None,
            }));
        }
        // The table of port 1 has the network, the main one has nothing.
        let hops = vec![Hop { interface: InterfaceId(1), gateway: None, weight: 1 }];
        let destination = "203.0.113.0/24".parse().unwrap();
        let route = Route { destination, action: RouteAction::Via(hops), mtu: None };
        compiler.apply(Change::Route { table: TableId(1), route });
        let fib = compiler.version();
        let question = |src: &str| Question {
            src: Some(src.to_owned()),
            dst: Some("192.0.2.1".to_owned()),
            ..Question::default()
        };
        let ports = ["v4".to_owned(), "v6".to_owned()];
        let input = of(&question("203.0.113.50"), &fib, &ports).unwrap();
        assert_eq!(input.port, PortId(1), "{}", input.text);
        assert!(input.text.contains("by which its source is reached"), "{}", input.text);
        let input = of(&question("198.51.100.50"), &fib, &ports).unwrap();
        assert!(input.text.contains("for want of a route"), "{}", input.text);
    }

    #[test]
    fn frames_and_packets_are_told_apart() {
        let packet = packet::bytes("4500001c 00004000 40118094 08004132 c0000201 c00001bb 0008ae41").unwrap();
        assert!(!looks_like_frame(&packet));
        for vlan in [None, Some(7)] {
            let frame = framed(&packet, [0x46, 1, 2, 3, 4, 5], vlan);
            assert!(looks_like_frame(&frame), "{frame:02x?}");
        }
        let arp = packet::bytes("ffffffffffff 020000000001 0806 0001").unwrap();
        assert!(looks_like_frame(&arp));
        assert!(!looks_like_frame(&[0x45, 0]));
    }
}

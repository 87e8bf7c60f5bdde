//! The dataplane's end of the rings, and the hosts behind the port: they answer ARP and neighbour solicitations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::exception::{InjectReceiver, Injected, PuntSender};
use dataplane::table::routing::{MacAddress, PortId};
use dataplane::verdict::PuntReason;

/// The hosts' common link-layer address.
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];

pub(crate) struct Wire {
    port: PortId,
    pub(crate) port_mac: MacAddress,
    pub(crate) punts: PuntSender,
    injects: InjectReceiver,
    /// Who answers.
    pub(crate) hosts: Vec<IpAddr>,
    /// Frames for the hosts other than requests for their address.
    pub(crate) delivered: Vec<Vec<u8>>,
    pub(crate) arp_requests: usize,
}

impl Wire {
    pub(crate) fn new(
        port: PortId,
        port_mac: MacAddress,
        punts: PuntSender,
        injects: InjectReceiver,
    ) -> Self {
        Self { port, port_mac, punts, injects, hosts: Vec::new(), delivered: Vec::new(), arp_requests: 0 }
    }

    /// Takes what was injected and answers for the hosts.
    pub(crate) fn answer(&mut self) {
        while let Some(injected) = self.injects.receive() {
            let Injected::Frame { port, bytes: frame } = injected else { panic!("{injected:?}") };
            assert_eq!(port, self.port, "frames of a twin leave by its port");
            let frame = frame.to_vec();
            match frame[12..14] {
                [0x08, 0x06] => {
                    self.arp_requests += 1;
                    self.answer_arp(&frame);
                }
                [0x86, 0xdd] if frame[20] == 58 && frame[54] == 135 => self.answer_solicitation(&frame),
                // Router solicitations, listener reports: the kernel's own business.
                [0x86, 0xdd] if frame[0] == 0x33 => {}
                _ => self.delivered.push(frame),
            }
        }
        self.punts.ring_doorbell();
    }

    /// Punts an ICMP echo request to the box.
    pub(crate) fn punt_echo_request(&mut self, from: &str, to: &str) {
        let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
        icmp.extend_from_slice(b"borderline");
        let sum = checksum(&icmp);
        icmp[2..4].copy_from_slice(&sum);
        let packet = ipv4(1, from.parse().unwrap(), to.parse().unwrap(), &icmp);
        let frame = [&self.port_mac.0, &PEER_MAC[..], &[8, 0], &packet].concat();
        self.punts.send_frame(self.port, PuntReason::LocalAddress, &frame).unwrap();
        self.punts.ring_doorbell();
    }

    /// An echo reply to [`Self::punt_echo_request`], to the peer and with good checksums.
    pub(crate) fn is_echo_reply(frame: &[u8]) -> bool {
        frame[..6] == PEER_MAC
            && frame[12..14] == [8, 0]
            && frame[23] == 1
            && frame[34] == 0
            && checksum(&frame[14..34]) == [0, 0]
            && checksum(&frame[34..]) == [0, 0]
    }

    fn answer_arp(&mut self, request: &[u8]) {
        let target: [u8; 4] = request[38..42].try_into().unwrap();
        if request[20..22] != [0, 1] || !self.hosts.contains(&IpAddr::V4(target.into())) {
            return;
        }
        let (asker_mac, asker_ip) = (&request[22..28], &request[28..32]);
        let head = [0, 1, 8, 0, 6, 4, 0, 2];
        let reply = [asker_mac, &PEER_MAC, &[8, 6], &head, &PEER_MAC, &target, asker_mac, asker_ip].concat();
        self.punts.send_frame(self.port, PuntReason::Arp, &reply).unwrap();
    }

    fn answer_solicitation(&mut self, frame: &[u8]) {
        let target: [u8; 16] = frame[62..78].try_into().unwrap();
        let asker: [u8; 16] = frame[22..38].try_into().unwrap();
        let known = self.hosts.contains(&IpAddr::V6(target.into()));
        if !known || asker == Ipv6Addr::UNSPECIFIED.octets() {
            return;
        }
        // Solicited, override; the target's link-layer address as the only option.
        let mut advertisement = [&[136, 0, 0, 0, 0x60, 0, 0, 0], &target[..], &[2, 1], &PEER_MAC].concat();
        let length = u8::try_from(advertisement.len()).unwrap();
        let pseudo = [&target[..], &asker, &[0, 0, 0, length, 0, 0, 0, 58], &advertisement].concat();
        let sum = checksum(&pseudo);
        advertisement[2..4].copy_from_slice(&sum);
        let header = [&[0x60, 0, 0, 0, 0, length, 58, 255], &target[..], &asker].concat();
        let reply = [&frame[6..12], &PEER_MAC, &[0x86, 0xdd], &header, &advertisement].concat();
        self.punts.send_frame(self.port, PuntReason::NeighborDiscovery, &reply).unwrap();
    }
}

/// A UDP packet, recognisable by its last byte.
pub(crate) fn ipv4_udp(mark: u8) -> Vec<u8> {
    ipv4(17, Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(10, 0, 0, 1), &[0, 7, 0, 7, 0, 9, 0, 0, mark])
}

/// The same over IPv6. Nobody looks at its checksum.
pub(crate) fn ipv6_udp(mark: u8) -> Vec<u8> {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1).octets();
    let header = [0x60, 0, 0, 0, 0, 9, 17, 64];
    [&header, &address[..], &address, &[0, 7, 0, 7, 0, 9, 0, 0, mark]].concat()
}

fn ipv4(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    let mut packet = [&head, &from.octets()[..], &to.octets()].concat();
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend_from_slice(payload);
    packet
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

//! Mappings that tell which table a packet was looked up in.
//!
//! Two hundred services move on by one host with every commit, all at once: service `j` is host `j + k` in table `k`. So
//! each address that comes out of the relay tells which table it was looked up in. A packet from host to service is
//! looked up twice and has to tell the same number twice; and since one worker keeps the order of what it sends, the
//! numbers that arrive on a link never fall.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::lab::{CLIENT, Lab, SERVICE, TestResult, embedded, frame};

/// Services and hosts.
const COUNT: u16 = 200;

fn service(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(192, 0, 2, 10).to_bits() + u32::from(number))
}

fn host(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, number + 1)
}

fn service_number(address: Ipv4Addr) -> Option<u16> {
    let number = address.to_bits().checked_sub(service(0).to_bits())?;
    u16::try_from(number).ok().filter(|number| *number < COUNT)
}

fn host_number(address: Ipv6Addr) -> Option<u16> {
    (0..COUNT).find(|number| host(*number) == address)
}

/// Services and their hosts in a table.
pub fn mappings(table: u16) -> impl Iterator<Item = (Ipv4Addr, Ipv6Addr)> {
    (0..COUNT).map(move |number| (service(number), host((number + table % COUNT) % COUNT)))
}

/// Makes the relay of a laboratory know the way to hosts and client.
///
/// # Errors
/// When it cannot.
///
/// # Panics
/// When one of them does not answer.
pub fn lead_to_hosts(lab: &Lab) -> TestResult {
    lab.relay_ns.ip("route add 2001:db8:a::/48 via 2001:db8:12:34::1 dev bl-v6")?;
    assert!(lab.pings(&lab.client, &SERVICE.to_string()));
    assert!(lab.pings(&lab.server, &embedded(CLIENT).to_string()));
    Ok(())
}

/// How far it is round the hosts from one to the other.
fn steps(to: u16, from: u16) -> u16 {
    (to + COUNT - from) % COUNT
}

/// What was sent: from which host or the client, to which service or the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    from: Option<u16>,
    to: Option<u16>,
}

impl Sent {
    fn payload(self) -> Vec<u8> {
        let number = |end: Option<u16>| end.unwrap_or(u16::MAX).to_be_bytes();
        [&b"half"[..], &number(self.from), &number(self.to)].concat()
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *payload.strip_prefix(b"half")?.first_chunk::<4>()?;
        let number = |bytes| Some(u16::from_be_bytes(bytes)).filter(|number| *number < COUNT);
        Some(Self { from: number([a, b]), to: number([c, d]) })
    }
}

/// A packet and the family it is of.
pub(super) enum Packet {
    V4(Vec<u8>),
    V6(Vec<u8>),
}

/// The packets of a turn: between hosts, to the client, and from it.
pub(super) fn packets(turn: u16) -> [Packet; 3] {
    let (from, to) = (turn % COUNT, turn.wrapping_mul(7) % COUNT);
    let v6 = |sent: Sent, destination: Ipv4Addr| {
        let destination = embedded(destination);
        let datagram = frame::udp6(host(from), destination, 9, &sent.payload());
        Packet::V6(frame::ipv6(host(from), destination, 17, 64, &datagram))
    };
    let up = Sent { from: None, to: Some(to) };
    let datagram = frame::udp4(CLIENT, service(to), 9, &up.payload());
    [
        v6(Sent { from: Some(from), to: Some(to) }, service(to)),
        v6(Sent { from: Some(from), to: None }, CLIENT),
        Packet::V4(frame::ipv4(CLIENT, service(to), 17, 64, &datagram)),
    ]
}

/// A packet that came back: as it was sent, and what its addresses are now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    sent: Sent,
    source: Option<u16>,
    destination: Option<u16>,
}

impl Received {
    /// Reads a frame that the relay has sent, if it is one of [`packets`].
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(14..)?;
        match packet.first()? >> 4 {
            4 => {
                let source = Ipv4Addr::from(*packet.get(12..16)?.first_chunk()?);
                let destination = Ipv4Addr::from(*packet.get(16..20)?.first_chunk()?);
                // What the client sends is heard as well.
                (destination == CLIENT).then_some(())?;
                let sent = Sent::read(packet.get(28..)?)?;
                Some(Self { sent, source: service_number(source), destination: None })
            }
            _ => {
                let source = Ipv6Addr::from(*packet.get(8..24)?.first_chunk()?);
                let destination = Ipv6Addr::from(*packet.get(24..40)?.first_chunk()?);
                let [.., a, b, c, d] = source.octets();
                let destination = Some(host_number(destination)?);
                let sent = Sent::read(packet.get(48..)?)?;
                Some(Self { sent, source: service_number(Ipv4Addr::new(a, b, c, d)), destination })
            }
        }
    }
}

/// The numbers of the tables that packets on one link were looked up in.
#[derive(Debug, Default)]
pub struct Checker {
    /// Packets taken in.
    pub packets: u64,
    /// Those of them that were looked up twice.
    pub turned: u64,
    /// How often a packet was of a newer table than the one before it.
    pub changes: u64,
    /// The newest table seen, counted on past the last host.
    pub newest: u64,
}

impl Checker {
    /// Takes in a packet.
    ///
    /// # Errors
    /// When it was looked up in two tables, in an older one than the packet before it, or in none.
    pub(super) fn take(&mut self, received: Received) -> Result<(), String> {
        let Received { sent, source, destination } = received;
        let missing = || format!("{sent:?} came with {source:?} and {destination:?}");
        let by_source = sent.from.map(|host| source.map(|service| steps(host, service)).ok_or_else(missing));
        let by_destination =
            sent.to.map(|service| destination.map(|host| steps(host, service)).ok_or_else(missing));
        let (by_source, by_destination) = (by_source.transpose()?, by_destination.transpose()?);
        let table = match (by_source, by_destination) {
            (Some(one), Some(other)) if one != other => {
                return Err(format!("{sent:?}: its source is of table {one}, its destination of {other}"));
            }
            (Some(table), _) | (None, Some(table)) => table,
            (None, None) => return Err(missing()),
        };
        let newest = u16::try_from(self.newest % u64::from(COUNT)).expect("below a u16");
        let ahead = steps(table, newest);
        if ahead > COUNT / 2 {
            return Err(format!("{sent:?} is of table {table}, and one of {newest} came before it"));
        }
        self.changes += u64::from(ahead > 0);
        self.newest += u64::from(ahead);
        self.packets += 1;
        self.turned += u64::from(by_source.is_some() && by_destination.is_some());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(source: u16, destination: u16) -> Received {
        let sent = Sent { from: Some(5), to: Some(7) };
        Received { sent, source: Some(source), destination: Some(destination) }
    }

    fn up(destination: Option<u16>) -> Received {
        Received { sent: Sent { from: None, to: Some(199) }, source: None, destination }
    }

    #[test]
    fn a_packet_of_two_tables_and_one_that_is_late_are_noticed() {
        let mut checker = Checker::default();
        checker.take(between(5, 7)).expect("of table 0");
        checker.take(between(2, 10)).expect("of table 3");
        let half = checker.take(between(2, 11)).expect_err("of tables 3 and 4");
        assert!(half.contains("table 3") && half.contains("of 4"), "{half}");
        checker.take(up(Some(3))).expect("of table 4");
        let late = checker.take(up(Some(2))).expect_err("of table 3");
        assert!(late.contains("of 4 came before"), "{late}");
        assert!(checker.take(up(None)).is_err(), "nobody knows where that came from");
        assert_eq!((checker.packets, checker.turned, checker.changes, checker.newest), (3, 2, 2, 4));
    }

    #[test]
    fn tables_are_counted_past_the_last_host() {
        let mut checker = Checker { newest: 199, ..Checker::default() };
        checker.take(up(Some(198))).expect("of table 199");
        checker.take(up(Some(199))).expect("of table 200, which is like 0");
        assert!(checker.take(up(Some(198))).is_err(), "of table 199");
        assert_eq!(checker.newest, 200);
        assert!(mappings(200).eq(mappings(0)) && !mappings(201).eq(mappings(0)));
    }

    #[test]
    fn a_sender_is_told_by_the_payload() {
        for sent in [Sent { from: Some(5), to: Some(7) }, Sent { from: None, to: Some(199) }] {
            assert_eq!(Sent::read(&sent.payload()), Some(sent));
        }
        assert_eq!(Sent::read(b"other traffic"), None);
    }
}

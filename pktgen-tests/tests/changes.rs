//! No packet sees half a change of the mappings.
//!
//! Two hundred services move on by one host with every commit, all at once: service `j` is host `j + k` in the `k`-th table. So
//! each address that comes out of the relay tells which table it was looked up in. A packet from host to service is
//! looked up twice and has to tell the same number twice; and since one worker keeps the order of what it sends, the numbers
//! that arrive never fall.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pktgen_tests::lab::{
    CLIENT, Cmd, Lab, Namespace, Need, RawLink, Shape, borderctl, embedded, frame, is_quick, skip_unless,
};

/// Services and hosts.
const COUNT: u16 = 200;
/// Packets of each sender in every ten milliseconds.
const RATE: u16 = 40;

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

/// What was sent: from which host or the client, to which service or the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    from: Option<u16>,
    to: Option<u16>,
}

impl Sent {
    fn payload(self) -> Vec<u8> {
        let number = |end: Option<u16>| end.unwrap_or(u16::MAX).to_be_bytes();
        [*b"half", [number(self.from), number(self.to)].concat().try_into().expect("four bytes")].concat()
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *payload.strip_prefix(b"half")?.first_chunk::<4>()?;
        let number = |bytes| Some(u16::from_be_bytes(bytes)).filter(|number| *number < COUNT);
        Some(Self { from: number([a, b]), to: number([c, d]) })
    }
}

/// The numbers of the tables that packets on one link were looked up in.
#[derive(Debug, Default)]
struct Checker {
    packets: u64,
    turned: u64,
    newest: u16,
    changes: u64,
}

impl Checker {
    /// Takes in a packet with its addresses: of a service or a host, where it has them.
    fn take(&mut self, sent: Sent, source: Option<u16>, destination: Option<u16>) -> Result<(), String> {
        let steps = |to: u16, from: u16| (to + COUNT - from) % COUNT;
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
        if table < self.newest {
            return Err(format!("{sent:?} is of table {table}, and one of {} came before it", self.newest));
        }
        self.changes += u64::from(table > self.newest);
        self.newest = table;
        self.packets += 1;
        self.turned += u64::from(by_source.is_some() && by_destination.is_some());
        Ok(())
    }
}

/// The packets of one sender: between hosts, from the client, or to it.
fn packets(turn: u16) -> [(bool, Vec<u8>); 3] {
    let (from, to) = (turn % COUNT, (turn.wrapping_mul(7)) % COUNT);
    let between = Sent { from: Some(from), to: Some(to) };
    let down = Sent { from: Some(from), to: None };
    let up = Sent { from: None, to: Some(to) };
    let v6 = |sent: Sent, destination: Ipv4Addr| {
        let destination = embedded(destination);
        let datagram = frame::udp6(host(from), destination, 9, &sent.payload());
        frame::ipv6(host(from), destination, 17, 64, &datagram)
    };
    let datagram = frame::udp4(CLIENT, service(to), 9, &up.payload());
    [
        (true, v6(between, service(to))),
        (true, v6(down, CLIENT)),
        (false, frame::ipv4(CLIENT, service(to), 17, 64, &datagram)),
    ]
}

/// Reads a frame that the relay has sent, if it is one of the test's.
fn received(frame: &[u8]) -> Option<(Sent, Option<u16>, Option<u16>)> {
    let packet = frame.get(14..)?;
    match packet.first()? >> 4 {
        4 => {
            let source = Ipv4Addr::from(*packet.get(12..16)?.first_chunk()?);
            let destination = Ipv4Addr::from(*packet.get(16..20)?.first_chunk()?);
            // What the client sends is heard as well.
            (destination == CLIENT).then_some(())?;
            Some((Sent::read(packet.get(28..)?)?, service_number(source), None))
        }
        _ => {
            let source = Ipv6Addr::from(*packet.get(8..24)?.first_chunk()?);
            let destination = Ipv6Addr::from(*packet.get(24..40)?.first_chunk()?);
            let [.., a, b, c, d] = source.octets();
            let number = host_number(destination)?;
            Some((Sent::read(packet.get(48..)?)?, service_number(Ipv4Addr::new(a, b, c, d)), Some(number)))
        }
    }
}

fn table(number: u16) -> String {
    let mut csv = String::from("ipv4,ipv6\n");
    for service_number in 0..COUNT {
        writeln!(csv, "{},{}", service(service_number), host((service_number + number) % COUNT)).ok();
    }
    csv
}

fn check(
    namespace: &Namespace,
    interface: &str,
    over: &Arc<AtomicBool>,
) -> Result<thread::JoinHandle<Result<Checker, String>>, Box<dyn Error>> {
    let mut link = RawLink::open(namespace, interface)?;
    let over = Arc::clone(over);
    Ok(thread::spawn(move || {
        let mut checker = Checker::default();
        while !over.load(Ordering::Relaxed) {
            let Some(frame) = link.receive() else { continue };
            if let Some((sent, source, destination)) = received(&frame) {
                checker.take(sent, source, destination)?;
            }
        }
        Ok(checker)
    }))
}

#[test]
fn a_packet_of_two_tables_and_one_that_is_late_are_noticed() {
    let mut checker = Checker::default();
    let between = Sent { from: Some(5), to: Some(7) };
    assert_eq!(Sent::read(&between.payload()), Some(between));
    checker.take(between, Some(5), Some(7)).expect("of table 0");
    checker.take(between, Some(2), Some(10)).expect("of table 3");
    let half = checker.take(between, Some(2), Some(11)).expect_err("of tables 3 and 4");
    assert!(half.contains("table 3") && half.contains("of 4"), "{half}");
    let up = Sent { from: None, to: Some(199) };
    checker.take(up, None, Some(3)).expect("of table 4");
    let late = checker.take(up, None, Some(2)).expect_err("of table 3");
    assert!(late.contains("of 4 came before"), "{late}");
    assert!(checker.take(up, None, None).is_err(), "nobody knows where that came from");
    assert_eq!((checker.packets, checker.turned, checker.changes), (3, 2, 2));
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn no_packet_sees_half_a_change() -> Result<(), Box<dyn Error>> {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let kept = tempfile::tempdir()?;
    let path = |name: &str| kept.path().join(name).display().to_string();
    let (socket, file) = (path("control.sock"), path("eams.csv"));
    let control = format!("\n[control]\nsocket = \"{socket}\"\nstore = \"{}\"\n", path("mappings.db"));
    let mut lab = Lab::up(&Shape { translation: control, ..Shape::default() })?;
    lab.relay_ns.ip("route add 2001:db8:a::/48 via 2001:db8:12:34::1 dev bl-v6")?;
    assert!(lab.pings(&lab.client, "192.0.2.1", 5));
    assert!(lab.pings(&lab.server, &embedded(CLIENT).to_string(), 5));
    let ctl = borderctl().expect("it is built with the relay").display().to_string();
    let import = |number: u16| {
        fs::write(&file, table(number))?;
        let import = Cmd::new(&ctl).args("--socket").arg(&socket).args("eam import --replace").arg(&file);
        let output = import.run()?;
        assert!(output.success(), "{}", output.text());
        Ok::<_, Box<dyn Error>>(())
    };
    import(0)?;
    let over = Arc::new(AtomicBool::new(false));
    let checkers = [check(&lab.server, "s6", &over)?, check(&lab.client, "c4", &over)?];
    let macs = (RawLink::open(&lab.relay_ns, "bl-v4")?.mac(), RawLink::open(&lab.relay_ns, "bl-v6")?.mac());
    let mut links = (RawLink::open(&lab.client, "c4")?, RawLink::open(&lab.server, "s6")?);
    let is_over = Arc::clone(&over);
    let sender = thread::spawn(move || {
        let (own4, own6) = (links.0.mac(), links.1.mac());
        let mut turn = 0_u16;
        let mut sent = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            for _ in 0..RATE {
                turn = turn.wrapping_add(1);
                for (is_v6, packet) in packets(turn) {
                    let done = match is_v6 {
                        true => links.1.send(&frame::ethernet(macs.1, own6, frame::IPV6, &packet)),
                        false => links.0.send(&frame::ethernet(macs.0, own4, frame::IPV4, &packet)),
                    };
                    sent += u64::from(done);
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        sent
    });
    let commits = if is_quick() { 20 } else { 90 };
    let mut failed = None;
    for number in 1..=commits {
        // Packets of each table, also where one commit follows the other at once.
        let pause = Instant::now() + Duration::from_millis(u64::from(number % 3) * 30);
        if let Err(error) = import(number) {
            failed = Some(error);
            break;
        }
        thread::sleep(pause.saturating_duration_since(Instant::now()));
    }
    thread::sleep(Duration::from_millis(300));
    over.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("the sender does not panic");
    let [up, down] = checkers.map(|checker| checker.join().expect("the checker does not panic"));
    failed.map_or(Ok(()), Err)?;
    let (up, down) = (up?, down?);
    println!("{sent} packets sent, {commits} commits of {COUNT} mappings; {up:?}, {down:?}");
    for (link, least) in [(&up, sent / 3), (&down, sent / 6)] {
        assert_eq!(link.newest, commits, "the last table was seen");
        assert!(link.packets > least, "{sent} sent, {link:?}");
        assert!(link.changes > u64::from(commits) / 2, "{link:?}");
    }
    assert!(up.turned > sent / 6, "{up:?}");
    Ok(lab.assert_healthy()?)
}

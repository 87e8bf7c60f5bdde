//! What pktgen sends, translated by the relay's own translator, must verify clean; and whatever is changed on the way
//! must be found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::memory::MemoryBuffer;
use dataplane::offline::{Offline, Outcome, Shape};
use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::translation::{Settings, Translation, TranslationParts, UdpZeroChecksum};
use pktgen_tests::pktgen::address::{EAM_BASE, service_v4, service_v6};
use pktgen_tests::pktgen::config::{Config, Direction, Expect, FrameBytes, Ports};
use pktgen_tests::pktgen::form::Protocol;
use pktgen_tests::pktgen::pick::Pattern;
use pktgen_tests::pktgen::receiver::Judge;
use pktgen_tests::pktgen::stream::{Stream, streams};
use pktgen_tests::pktgen::tally::Corruption;
use pktgen_tests::pktgen::verify::{Found, examine};

const EAMS: u32 = 50;

const CONFIG: &str = r#"
[[port]]
name = "v4"
device = "net_null0"
family = "ipv4"
mac = "02:00:00:00:00:14"
peer_mac = "02:00:00:00:00:04"
[[port]]
name = "v6"
device = "net_null1"
family = "ipv6"
mac = "02:00:00:00:00:16"
peer_mac = "02:00:00:00:00:06"
[traffic]
eams = 50
"#;

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::parse(CONFIG).expect("the text is a configuration");
    change(&mut config);
    assert_eq!(config.problems(), Vec::<String>::new());
    config
}

/// A translator with the generator's EAMs.
fn translator() -> Offline {
    let eams: Vec<Eam> = (0..EAMS)
        .map(|number| Eam { ipv4: service_v4(EAM_BASE, number).into(), ipv6: service_v6(number).into() })
        .collect();
    let translation = Translation::new(TranslationParts {
        settings: Settings { udp_zero_checksum: UdpZeroChecksum::Compute, ..Settings::default() },
        prefixes: vec![TranslationPrefix::new("2001:db8:46::/96".parse().unwrap()).unwrap()],
        eams: EamTable::build(&eams).unwrap(),
        service_pools: vec!["100.64.0.0/10".parse().unwrap()],
        translatable_pools: Vec::new(),
        denylist: Vec::new(),
        er_addresses: Vec::new(),
        icmp_sources: IcmpSourcePool::new(&["198.51.100.1/32".parse().unwrap()], Choice::Hash),
    });
    let shape = Shape {
        ipv4_mtu: 9300,
        ipv6_mtu: 9300,
        ipv4_address: Ipv4Addr::new(198, 51, 100, 254),
        ipv6_address: Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1),
    };
    Offline::new(translation, &shape)
}

/// Packet `sequence` of a stream as the sender writes it.
fn sent(stream: &Stream, sequence: u64) -> Vec<u8> {
    let place = usize::try_from(sequence).unwrap() % stream.round.len();
    let template = &stream.sent[stream.round[place]];
    let mut frame = vec![0xee; template.len()];
    template.write(&mut frame, stream.endpoints(), &stream.packet(stream.tag(sequence, 1_000_000)));
    frame
}

/// What a relay makes of a frame: another IP packet, and the MAC addresses of its other port.
fn relayed(translator: &mut Offline, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let outcome = translator.run(&frame[14..], &mut out);
    assert_eq!(outcome, Outcome::Translated, "{frame:02x?}");
    assert_eq!(out.len(), 1, "{outcome:?}");
    let (port, ether_type) = if out[0][0] >> 4 == 4 { (4, [0x08, 0x00]) } else { (6, [0x86, 0xdd]) };
    let macs = [2, 0, 0, 0, 0, 0x10 + port, 2, 0, 0, 0, 0, port];
    [&macs[..], &ether_type, &out[0]].concat()
}

fn bytes(sizes: &[u16]) -> Vec<FrameBytes> {
    sizes.iter().copied().map(FrameBytes::Bytes).collect()
}

/// RFC 8219's sizes, the odd one, and the mix.
fn sizes() -> Vec<FrameBytes> {
    let mut sizes =
        bytes(&[64, 65, 128, 256, 512, 768, 1024, 1280, 1298, 1299, 1518, 1522, 2048, 4096, 8192, 9216]);
    sizes.push(FrameBytes::Imix);
    sizes
}

/// Sends some packets of every stream through the translator; all must come back as expected.
fn assert_clean(config: &Config, size: FrameBytes) {
    let streams = streams(config, size);
    let mut judge = Judge::new(&streams);
    judge.begin(&vec![0; streams.len()]);
    let mut translator = translator();
    for (index, stream) in streams.iter().enumerate() {
        for sequence in 0..48 {
            let frame = relayed(&mut translator, &sent(stream, sequence));
            let port = stream.to.expect("a translator has a port for it");
            let found = examine(&streams, index, port, &frame);
            let Found::Ours(ours) = found else { panic!("{found:?}: {frame:02x?}") };
            assert_eq!((ours.stream, ours.corruption), (index, None), "size {size}: {frame:02x?}");
            judge.burst(&streams, port, &[MemoryBuffer::new(&frame)], 1_000_100);
        }
        let tally = &judge.tallies()[index];
        assert_eq!((tally.received, tally.reordered, tally.duplicated, tally.stale), (48, 0, 0, 0));
        assert_eq!((tally.latency.min(), tally.latency.max()), (100, 100));
    }
}

#[test]
fn every_protocol_and_size_verifies_clean_in_both_directions() {
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Icmp] {
        let config = config(|config| config.traffic.protocol = protocol);
        for size in sizes() {
            assert_clean(&config, size);
        }
    }
}

#[test]
fn fragments_verify_clean_in_both_directions() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let config = config(|config| {
            config.traffic.protocol = protocol;
            config.traffic.fragments = true;
            config.traffic.frame_bytes = FrameBytes::Bytes(70);
        });
        for size in bytes(&[70, 71, 128, 1270]) {
            assert_clean(&config, size);
        }
    }
}

#[test]
fn udp_without_checksum_comes_back_with_the_right_one() {
    let config = config(|config| {
        config.traffic.udp_checksum = false;
        config.traffic.direction = Direction::V4ToV6;
    });
    for size in sizes() {
        assert_clean(&config, size);
    }
}

#[test]
fn every_pattern_of_flows_verifies_clean() {
    for pattern in [Pattern::Uniform, Pattern::Skewed, Pattern::Sequential] {
        for flows in [1, 7, 50, 5000] {
            for ports in [Ports::PerPacket, Ports::PerFlow] {
                let config = config(|config| {
                    config.traffic.pattern = pattern;
                    config.traffic.flows = flows;
                    config.traffic.ports = ports;
                });
                assert_clean(&config, FrameBytes::Bytes(64));
            }
        }
    }
}

/// What is sent must be right by itself, not only by what this translator makes of it.
#[test]
fn what_is_sent_has_the_checksums_an_end_host_computes() {
    use pktgen_tests::lab::frame::checksum;
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Icmp] {
        let config = config(|config| config.traffic.protocol = protocol);
        for stream in streams(&config, FrameBytes::Imix) {
            for sequence in 0..24 {
                let frame = sent(&stream, sequence);
                let packet = &frame[14..];
                let (start, addresses, number) = if packet[0] >> 4 == 4 {
                    assert_eq!(checksum(&[&packet[..20]]), 0, "IPv4 header");
                    (20, &packet[12..20], packet[9])
                } else {
                    (40, &packet[8..40], packet[6])
                };
                let length = u16::try_from(packet.len() - start).unwrap().to_be_bytes();
                let pseudo: &[&[u8]] = if number == 1 { &[] } else { &[addresses, &length, &[0, number]] };
                assert_eq!(checksum(&[pseudo, &[&packet[start..]]].concat()), 0, "{protocol:?} {frame:02x?}");
            }
        }
    }
}

#[test]
fn any_changed_bit_is_found() {
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Icmp] {
        for (size, fragments) in [(64, false), (150, false), (1400, false), (78, true)] {
            if fragments && protocol == Protocol::Icmp {
                continue;
            }
            let config = config(|config| {
                config.traffic.protocol = protocol;
                config.traffic.fragments = fragments;
                config.traffic.frame_bytes = FrameBytes::Bytes(78);
                // A last fragment has no checksum: only its flow tells that its number is wrong.
                config.traffic.flows = 1 << 20;
            });
            let streams = streams(&config, FrameBytes::Bytes(size));
            for (index, stream) in streams.iter().enumerate() {
                for sequence in 0..2 {
                    let frame = relayed(&mut translator(), &sent(stream, sequence));
                    for bit in 0..8 * frame.len() {
                        let mut changed = frame.clone();
                        changed[bit / 8] ^= 0x80 >> (bit % 8);
                        let found = examine(&streams, index, stream.to.unwrap(), &changed);
                        let clean = matches!(found, Found::Ours(ours) if ours.corruption.is_none());
                        assert!(!clean, "{protocol:?} {size}: byte {} bit {}", bit / 8, bit % 8);
                    }
                }
            }
        }
    }
}

/// What `examine` says of a frame after a change.
fn verdict(config: &Config, reverse: bool, change: impl FnOnce(&mut Vec<u8>)) -> Found {
    let streams = streams(config, FrameBytes::Bytes(100));
    let index = usize::from(reverse);
    let mut frame = relayed(&mut translator(), &sent(&streams[index], 5));
    change(&mut frame);
    examine(&streams, index, streams[index].to.unwrap(), &frame)
}

fn corruption(found: Found) -> Option<Corruption> {
    match found {
        Found::Ours(ours) => ours.corruption,
        Found::Unreadable(kind) => Some(kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_of_corruption_has_its_name() {
    let config = config(|_| ());
    let at = |reverse, offset: usize| corruption(verdict(&config, reverse, |frame| frame[offset] ^= 1));
    // Towards IPv6: Ethernet 0, IPv6 14, UDP 54, tag 62, payload 78.
    for (offset, kind) in [
        (0, Corruption::Ethernet),
        (11, Corruption::Ethernet),
        (15, Corruption::Header),
        (19, Corruption::Header),
        (21, Corruption::HopLimit),
        (37, Corruption::Source),
        (53, Corruption::Destination),
        (54, Corruption::Transport),
        (58, Corruption::Transport),
        (61, Corruption::TransportChecksum),
        (64, Corruption::Tag),
        (69, Corruption::Tag),
        (77, Corruption::TransportChecksum),
        (78, Corruption::Payload),
    ] {
        assert_eq!(at(false, offset), Some(kind), "byte {offset} towards IPv6");
    }
    // Towards IPv4: IPv4 14, UDP 34, tag 42, payload 58. The identification is free, but its checksum is not.
    for (offset, kind) in [
        (15, Corruption::Header),
        (18, Corruption::HeaderChecksum),
        (20, Corruption::Header),
        (22, Corruption::HopLimit),
        (24, Corruption::HeaderChecksum),
        (29, Corruption::Source),
        (33, Corruption::Destination),
        (35, Corruption::Transport),
        (40, Corruption::TransportChecksum),
        (95, Corruption::Payload),
    ] {
        assert_eq!(at(true, offset), Some(kind), "byte {offset} towards IPv4");
    }
    assert_eq!(corruption(verdict(&config, false, |frame| frame.truncate(90))), Some(Corruption::Length));
    assert_eq!(corruption(verdict(&config, false, |frame| frame.push(0))), Some(Corruption::Length));
    // The magic number of the tag is gone: nothing tells which packet this was.
    assert_eq!(at(false, 70), Some(Corruption::Tag));
}

#[test]
fn a_packet_out_of_the_wrong_port_is_found() {
    let config = config(|_| ());
    let streams = streams(&config, FrameBytes::Bytes(64));
    let frame = relayed(&mut translator(), &sent(&streams[0], 0));
    assert_eq!(corruption(examine(&streams, 0, 1, &frame)), None);
    assert_eq!(corruption(examine(&streams, 1, 0, &frame)), Some(Corruption::Port));
}

#[test]
fn an_udp_checksum_may_be_missing_nowhere_in_ipv6() {
    let config = config(|_| ());
    let found = verdict(&config, false, |frame| frame[60..62].fill(0));
    assert_eq!(corruption(found), Some(Corruption::TransportChecksum));
}

#[test]
fn what_a_device_says_by_itself_is_foreign() {
    let config = config(|_| ());
    let arp =
        [[0xff; 6], [2, 0, 0, 0, 0, 4]].concat().into_iter().chain([0x08, 0x06]).chain([0; 46]).collect();
    assert_eq!(verdict(&config, false, |frame| *frame = arp), Found::Foreign);
    let mut router_solicitation =
        vec![0x33, 0x33, 0, 0, 0, 2, 2, 0, 0, 0, 0, 6, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 255];
    router_solicitation.extend([0; 32]);
    router_solicitation.extend([133, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(verdict(&config, false, |frame| *frame = router_solicitation), Found::Foreign);
    assert_eq!(verdict(&config, false, Vec::clear), Found::Foreign);
}

#[test]
fn an_icmp_error_of_the_device_is_told() {
    let config = config(|_| ());
    let streams = streams(&config, FrameBytes::Bytes(64));
    let mut frame = sent(&streams[0], 0);
    // TTL 1, and its checksum.
    frame[22] = 1;
    frame[24..26].fill(0);
    let sum = pktgen_tests::lab::frame::checksum(&[&frame[14..34]]).to_be_bytes();
    frame[24..26].copy_from_slice(&sum);
    let mut out = Vec::new();
    assert!(matches!(translator().run(&frame[14..], &mut out), Outcome::IcmpError(_)));
    let error = [&frame[6..12], &frame[..6], &[0x08, 0x00], &out[0]].concat();
    assert_eq!(examine(&streams, 1, 0, &error), Found::IcmpError);
}

#[test]
fn background_traffic_is_expected_as_it_was_one_hop_on() {
    let config = config(|config| {
        config.traffic.native_ipv6 = 30;
        config.traffic.native_ipv4 = 20;
    });
    let streams = streams(&config, FrameBytes::Bytes(64));
    assert_eq!(streams.len(), 6);
    for (index, stream) in streams.iter().enumerate().filter(|(_, stream)| stream.name.starts_with("native"))
    {
        let mut frame = sent(stream, 9);
        let (own, other) = if stream.from == 0 { (4, 6) } else { (6, 4) };
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, own, 2, 0, 0, 0, 0, own + 0x10]);
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, other + 0x10, 2, 0, 0, 0, 0, other]);
        if frame[14] >> 4 == 6 {
            assert_eq!(frame.len(), 80, "as long as a translated frame");
            frame[21] -= 1;
        } else {
            assert_eq!(frame.len(), 60);
            frame[22] -= 1;
            // The header checksum of a decremented TTL (RFC 1624).
            let sum = u16::from_be_bytes([frame[24], frame[25]]);
            let (sum, carry) = sum.overflowing_add(0x0100);
            frame[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        }
        let found = examine(&streams, 0, stream.to.unwrap(), &frame);
        let Found::Ours(ours) = found else { panic!("{found:?}") };
        assert_eq!((ours.stream, ours.corruption), (index, None), "{}", stream.name);
    }
}

#[test]
fn a_forwarder_may_return_frames_at_either_port() {
    for (expect, swapped) in [(Expect::Unchanged, false), (Expect::Macswapped, true)] {
        let config = config(|config| config.traffic.expect = expect);
        let streams = streams(&config, FrameBytes::Bytes(64));
        for stream in &streams {
            let mut frame = sent(stream, 3);
            if swapped {
                frame[..12].rotate_left(6);
            }
            for port in [0, 1] {
                let found = examine(&streams, port, port, &frame);
                assert!(matches!(found, Found::Ours(ours) if ours.corruption.is_none()), "{found:?}");
            }
            frame[..12].rotate_left(6);
            assert_eq!(corruption(examine(&streams, 0, 0, &frame)), Some(Corruption::Ethernet));
        }
    }
}

#[test]
fn losses_copies_and_late_packets_are_counted() {
    let config = config(|config| {
        config.traffic.direction = Direction::V4ToV6;
        config.traffic.flows = 1;
    });
    let streams = streams(&config, FrameBytes::Bytes(64));
    let mut judge = Judge::new(&streams);
    judge.begin(&[10]);
    let mut translator = translator();
    let mut burst = |judge: &mut Judge, now, sequences: &[u64]| {
        let frames: Vec<MemoryBuffer> = sequences
            .iter()
            .map(|&sequence| MemoryBuffer::new(&relayed(&mut translator, &sent(&streams[0], sequence))))
            .collect();
        judge.burst(&streams, 1, &frames, now);
    };
    burst(&mut judge, 1_000_500, &[10, 11, 13]);
    burst(&mut judge, 1_002_500, &[12, 13, 9, 16]);
    let tally = &judge.tallies()[0];
    assert_eq!((tally.received, tally.duplicated, tally.reordered, tally.stale), (5, 1, 1, 1));
    assert_eq!(tally.max_gap, 2000);
    assert_eq!(tally.latency.len(), 5);
    // A histogram has three digits.
    assert!((2498..=2502).contains(&tally.latency.max()), "{}", tally.latency.max());
    assert_eq!(tally.latency.min(), 500);
}

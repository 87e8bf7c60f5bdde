//! Sizes: Fragment headers, the lowest IPv6 MTU, DF, identifications, and what cannot be cut.

use std::collections::{BTreeMap, HashSet};

use dataplane::counters::Event;
use dataplane::offline::Outcome;
use dataplane::verdict::DropReason;

use super::lab::*;

/// Puts IPv6 fragments together again and gives the datagram as a packet without a Fragment header.
#[track_caller]
fn reassemble_v6(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut pieces = BTreeMap::new();
    let mut end = None;
    for fragment in fragments {
        assert_eq!(fragment[6], 44, "{fragment:02x?}");
        assert_eq!(fragment[44..48], fragments[0][44..48], "one identification");
        let word = u16::from_be_bytes([fragment[42], fragment[43]]);
        let (offset, data) = (usize::from(word & 0xfff8), &fragment[48..]);
        if word & 1 == 0 {
            end = Some(offset + data.len());
        }
        pieces.insert(offset, data.to_vec());
    }
    let data = concatenate(pieces, end);
    let mut packet = fragments[0][..40].to_vec();
    packet[4..6].copy_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    packet[6] = fragments[0][40];
    packet.extend(data);
    packet
}

/// Puts IPv4 fragments together again and gives the datagram as a packet.
#[track_caller]
fn reassemble_v4(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut pieces = BTreeMap::new();
    let mut end = None;
    for fragment in fragments {
        assert_checksums(fragment);
        assert_eq!(fragment[4..6], fragments[0][4..6], "one identification");
        assert_ne!(fragment[4..6], [0, 0]);
        let word = u16::from_be_bytes([fragment[6], fragment[7]]);
        let (offset, data) = (usize::from(word & 0x1fff) * 8, &fragment[20..]);
        if word & 0x2000 == 0 {
            end = Some(offset + data.len());
        }
        pieces.insert(offset, data.to_vec());
    }
    let data = concatenate(pieces, end);
    let mut packet = fragments[0][..20].to_vec();
    packet[2..4].copy_from_slice(&u16::try_from(data.len() + 20).unwrap().to_be_bytes());
    packet.extend(data);
    with_fragment(packet, false, false, 0)
}

#[track_caller]
fn concatenate(pieces: BTreeMap<usize, Vec<u8>>, end: Option<usize>) -> Vec<u8> {
    let mut data = Vec::new();
    for (offset, piece) in pieces {
        assert_eq!(offset, data.len(), "no gap, no overlap");
        data.extend(piece);
    }
    assert_eq!(Some(data.len()), end, "the last piece ends it");
    data
}

/// A datagram cut into IPv4 fragments with this much data.
fn cut_v4(packet: &[u8], step: usize) -> Vec<Vec<u8>> {
    let data = &packet[20..];
    let pieces = data.chunks(step).enumerate();
    pieces
        .map(|(number, piece)| {
            let more = (number + 1) * step < data.len();
            let mut fragment = packet[..20].to_vec();
            fragment[2..4].copy_from_slice(&u16::try_from(20 + piece.len()).unwrap().to_be_bytes());
            fragment.extend(piece);
            with_fragment(fragment, false, more, u16::try_from(number * step / 8).unwrap())
        })
        .collect()
}

/// A datagram cut into IPv6 fragments with this much data.
fn cut_v6(packet: &[u8], step: usize) -> Vec<Vec<u8>> {
    let data = &packet[40..];
    let (source, destination) = (source_v6(packet).to_string(), destination_v6(packet).to_string());
    let pieces = data.chunks(step).enumerate();
    pieces
        .map(|(number, piece)| {
            let more = (number + 1) * step < data.len();
            let offset = u16::try_from(number * step / 8).unwrap();
            fragment_v6(&source, &destination, packet[6], offset, more, piece)
        })
        .collect()
}

#[test]
fn every_size_is_sent_cut_or_answered_towards_ipv6() {
    let whole = Lab::default();
    for size in 1200..=1520_usize {
        for df in [false, true] {
            let packet = if df { with_df(sized_v4(size)) } else { sized_v4(size) };
            let done = whole.run(&packet);
            assert!(done.out.iter().all(|out| out.len() <= 1500), "{size} {df}");
            let grown = size + 20;
            if df && grown > 1500 {
                let error = done.answered("packet_too_big", 3, 4);
                assert_eq!(icmp(&error)[4..8], [0, 0, 5, 200], "1480");
            } else if df || grown <= 1280 {
                assert_eq!(done.translated().len(), grown, "{size} {df}: whole, without a Fragment header");
            } else {
                assert_eq!(done.outcome, Outcome::Translated);
                assert!(done.out.iter().all(|out| out.len() <= 1280), "{size}");
                assert_eq!(done.out.len(), (size - 20).div_ceil(1232), "{size}: as few as possible");
                let again = reassemble_v6(&done.out);
                assert_checksums(&again);
                assert_eq!(again[48..], packet[28..], "{size}");
            }
        }
    }
}

#[test]
fn every_size_is_sent_cut_or_answered_towards_ipv4() {
    let lab = Lab { ipv4_mtu: 1400, ..Lab::default() };
    for size in 1200..=1520_usize {
        let packet = sized_v6(size);
        let done = lab.run(&packet);
        if size - 20 > 1400 {
            let error = done.answered("packet_too_big", 2, 0);
            assert_eq!(icmp(&error)[4..8], 1420_u32.to_be_bytes());
        } else {
            let out = done.translated();
            assert_eq!(out.len(), size - 20);
            let df = out[6] & 0x40 != 0;
            assert_eq!(df, size - 20 > 1260, "{size}");
            assert_eq!(df, out[4..6] == [0, 0], "{size}: an identification where routers may fragment");
        }
    }
}

#[test]
fn the_limit_is_the_lowest_of_setting_and_link() {
    for (lowest, mtu, size, sizes) in [
        (1280, 1500, 1260, &[1280][..]),
        (1280, 1500, 1261, &[1280, 57]),
        (1500, 1500, 1480, &[1500]),
        (1500, 1500, 1500, &[1496, 80]),
        (1520, 1520, 1500, &[1520]),
        (1500, 1400, 1500, &[1400, 176]),
        (1500, 1280, 1500, &[1280, 296]),
    ] {
        let mut lab = Lab::with(|settings| settings.lowest_ipv6_mtu = lowest);
        lab.ipv6_mtu = mtu;
        let out = lab.run(&sized_v4(size)).out;
        let got: Vec<usize> = out.iter().map(Vec::len).collect();
        assert_eq!(got, sizes, "{lowest} {mtu} {size}");
    }
}

#[test]
fn the_mtu_of_a_route_counts_as_well() {
    let mut router = Lab::default().router(|routing| {
        for route in &mut routing.routes {
            route.mtu = Some(1300);
        }
    });
    let error = router.run(&with_df(sized_v4(1400))).answered("packet_too_big", 3, 4);
    assert_eq!(icmp(&error)[4..8], [0, 0, 5, 0], "1280");
    let error = router.run(&sized_v6(1400)).answered("packet_too_big", 2, 0);
    assert_eq!(icmp(&error)[4..8], 1320_u32.to_be_bytes());
}

#[test]
fn a_packet_too_big_never_reports_less_than_ipv6_allows() {
    let lab = Lab { ipv4_mtu: 1000, ..Lab::default() };
    let error = lab.run(&sized_v6(1400)).answered("packet_too_big", 2, 0);
    assert_eq!(icmp(&error)[4..8], 1280_u32.to_be_bytes());
}

#[test]
fn fragments_get_a_fragment_header_with_their_fields() {
    for (df, more, offset) in [(false, true, 0), (false, true, 37), (false, false, 185), (true, true, 0)] {
        let packet = with_fragment(sized_v4(120), df, more, offset);
        let out = Lab::default().run(&packet).one();
        assert_eq!((out.len(), out[6]), (148, 44));
        let word = (offset << 3 | u16::from(more)).to_be_bytes();
        assert_eq!(out[40..48], [17, 0, word[0], word[1], 0, 0, 0xbe, 0xef]);
        assert_eq!(out[4..6], 108_u16.to_be_bytes());
        if offset > 0 {
            assert_eq!(out[48..], packet[20..], "no byte of a later fragment is read or changed");
        }
    }
    let mut relay = Lab::default().relay();
    relay.run(&with_fragment(sized_v4(120), false, true, 37)).one();
    assert_eq!(relay.counts().event(Event::TranslatedFragments), 1);
}

#[test]
fn fragments_towards_ipv4_take_the_fields_of_the_fragment_header() {
    let datagram = sized_v6(3000);
    for (number, fragment) in cut_v6(&datagram, 1200).iter().enumerate() {
        let out = Lab::default().run(fragment).one();
        assert_checksums(&out);
        let more = number < 2;
        let word = (number * 150) | if more { 0x2000 } else { 0 };
        assert_eq!(out[4..6], [0xbe, 0xef], "the low half of the identification");
        assert_eq!(out[6..8], u16::try_from(word).unwrap().to_be_bytes(), "DF 0");
    }
}

#[test]
fn an_atomic_fragment_is_a_whole_packet_with_an_identification() {
    for size in [100, 1400] {
        let whole = sized_v6(size);
        let atomic = fragment_v6(HOST, CLIENT_V6, 17, 0, false, &whole[40..]);
        let out = Lab::default().run(&atomic).translated();
        assert_eq!((out.len(), &out[4..8]), (size - 20, &[0xbe, 0xef, 0, 0][..]), "DF 0 at any size");
    }
    let echo = icmp_v6(HOST, CLIENT_V6, 128, 0, [0; 4], &[1, 2, 3]);
    let atomic = fragment_v6(HOST, CLIENT_V6, 58, 0, false, &echo[40..]);
    assert_eq!(Lab::default().run(&atomic).translated()[20], 8);
}

#[test]
fn fragments_may_pass_different_relays_and_still_fit_together() {
    // Each fragment meets a relay that has seen nothing before.
    for step in [8, 16, 24, 576, 1232] {
        let tcp = tcp_v4(CLIENT, SERVICE, &SYN, &payload(2800));
        for (packet, checksum) in [(sized_v4(2901), 6), (tcp, 16)] {
            let fragments = cut_v4(&packet, step);
            if step < checksum + 2 {
                continue;
            }
            let out: Vec<Vec<u8>> =
                fragments.iter().map(|fragment| Lab::default().run(fragment).one()).collect();
            let again = reassemble_v6(&out);
            assert_checksums(&again);
            assert_eq!(again[40..][checksum + 2..], packet[20..][checksum + 2..], "{step}");
        }
        let packet = sized_v6(2901);
        let fragments = cut_v6(&packet, step);
        let out: Vec<Vec<u8>> = fragments.iter().map(|fragment| Lab::default().run(fragment).one()).collect();
        let again = reassemble_v4(&out);
        assert_checksums(&again);
        assert_eq!(again[28..], packet[48..], "{step}");
    }
}

#[test]
fn fragments_too_big_are_cut_further() {
    for (more, offset) in [(true, 0), (true, 200), (false, 200)] {
        let packet = with_fragment(sized_v4(1500), false, more, offset);
        let out = Lab::default().run(&packet).out;
        let fields: Vec<(u16, bool, &[u8])> = out
            .iter()
            .map(|piece| {
                let word = u16::from_be_bytes([piece[42], piece[43]]);
                (word >> 3, word & 1 == 1, &piece[44..48])
            })
            .collect();
        let id = &[0, 0, 0xbe, 0xef][..];
        assert_eq!(fields, [(offset, true, id), (offset + 154, more, id)]);
    }
    let lab = Lab { ipv4_mtu: 1000, ..Lab::default() };
    for (more, offset) in [(true, 0), (true, 200), (false, 200)] {
        let packet = fragment_v6(HOST, CLIENT_V6, 17, offset, more, &sized_v6(1240)[40..]);
        let out = lab.run(&packet).out;
        let fields: Vec<[u8; 4]> = out.iter().map(|piece| piece[4..8].try_into().unwrap()).collect();
        let word = |offset: u16, more: bool| (offset | if more { 0x2000 } else { 0 }).to_be_bytes();
        let [first, second] = [word(offset, true), word(offset + 122, more)];
        assert_eq!(fields, [[0xbe, 0xef, first[0], first[1]], [0xbe, 0xef, second[0], second[1]]]);
        out.iter().for_each(|piece| assert_checksums(piece));
    }
}

#[test]
fn a_fragment_with_df_that_does_not_fit_is_answered_or_cut() {
    let packet = with_fragment(sized_v4(1480), true, true, 0);
    let error = Lab::default().run(&packet).answered("packet_too_big", 3, 4);
    assert_eq!(icmp(&error)[4..8], [0, 0, 5, 192], "1472: fragments grow by 28");
    let fits = with_fragment(sized_v4(1472), true, true, 0);
    assert_eq!(Lab::default().run(&fits).one().len(), 1500);
    let ignored = Lab::with(|settings| settings.respect_fragment_df = false);
    assert_eq!(ignored.run(&packet).out.len(), 2);
}

#[test]
fn a_small_packet_for_a_smaller_link_is_cut_with_one_identification() {
    let lab = Lab { ipv4_mtu: 600, ..Lab::default() };
    let mut relay = lab.relay();
    let packet = sized_v6(1280);
    let out = relay.run(&packet).out;
    assert!(out.len() == 3 && out.iter().all(|piece| piece.len() <= 600));
    let again = reassemble_v4(&out);
    assert_checksums(&again);
    assert_eq!(again[28..], packet[48..]);
    assert_eq!(relay.counts().event(Event::FragmentedPackets), 1);
    assert_eq!(relay.counts().event(Event::OriginatedFragments), 2);
}

#[test]
fn a_large_echo_is_translated_before_it_is_cut() {
    let echo = icmp_v4(CLIENT, SERVICE, 8, 0, [1, 2, 3, 4], &payload(1472));
    let out = Lab::default().run(&echo).out;
    assert_eq!(out.len(), 2);
    let again = reassemble_v6(&out);
    assert_checksums(&again);
    assert_eq!((again[40], &again[44..]), (128, &echo[24..]));
}

#[test]
fn identifications_are_spread() {
    let mut relay = Lab::default().relay();
    let packet = sized_v6(200);
    let seen: HashSet<[u8; 2]> =
        (0..1000).map(|_| relay.run(&packet).translated()[4..6].try_into().unwrap()).collect();
    assert_eq!(seen.len(), 1000, "none repeats, none is constant");
    assert!(!seen.contains(&[0, 0]));
}

#[test]
fn fragmented_icmp_is_not_translated() {
    let echo = icmp_v4(CLIENT, SERVICE, 8, 0, [0; 4], &[1; 64]);
    let mut relay = Lab::default().relay();
    relay.run(&with_fragment(echo.clone(), false, true, 0)).silent("fragmented_icmp");
    relay.run(&with_fragment(echo, false, false, 8)).silent("fragmented_icmp");
    let echo = icmp_v6(HOST, CLIENT_V6, 128, 0, [0; 4], &[1; 64]);
    relay.run(&fragment_v6(HOST, CLIENT_V6, 58, 0, true, &echo[40..])).silent("fragmented_icmp");
    relay.run(&fragment_v6(HOST, CLIENT_V6, 58, 8, false, &echo[40..])).silent("fragmented_icmp");
    assert_eq!(relay.counts().dropped(DropReason::FragmentedIcmp), 4);
}

#[test]
fn first_fragments_without_the_checksum_are_dropped() {
    for (number, long_enough) in [(6, 18), (17, 8)] {
        for length in [0, 7, 8, 16, 17, 18, 24] {
            let data = vec![0x11; length];
            let v4 = with_fragment(ipv4(CLIENT, SERVICE, number, &data), false, true, 0);
            let v6 = fragment_v6(HOST, CLIENT_V6, number, 0, true, &data);
            for packet in [v4, v6] {
                let done = Lab::default().run(&packet);
                if length < long_enough {
                    done.silent("tiny_fragment");
                } else {
                    assert_eq!(done.outcome, Outcome::Translated, "{number} {length}");
                }
            }
        }
        // The same without fragmentation is simply too short.
        let short = ipv4(CLIENT, SERVICE, number, &[0x11; 7]);
        Lab::default().run(&short).silent("transport_truncated");
        let short = ipv6(HOST, CLIENT_V6, number, &[0x11; 7]);
        Lab::default().run(&short).silent("transport_truncated");
    }
}

#[test]
fn fragments_past_the_end_of_a_datagram_are_dropped() {
    let packet = with_fragment(ipv4(CLIENT, SERVICE, 17, &[1; 8]), false, false, 8191);
    Lab::default().run(&packet).silent("fragment_invalid");
    // The last byte that fits.
    let packet = with_fragment(ipv4(CLIENT, SERVICE, 17, &[1; 7]), false, false, 8191);
    assert_eq!(Lab::default().run(&packet).one().len(), 55);
    // An IPv4 datagram counts its header: 65,515 bytes are left.
    let small = Lab { ipv4_mtu: 68, ..Lab::default() };
    for (offset, fits, pieces) in [(8189, 3, 1), (8188, 11, 1), (8180, 75, 2)] {
        for more in [false, true] {
            let last = fragment_v6(HOST, CLIENT_V6, 17, offset, more, &vec![1; fits]);
            assert_eq!(small.run(&last).out.len(), pieces, "{offset}");
            let beyond = fragment_v6(HOST, CLIENT_V6, 17, offset, more, &vec![1; fits + 1]);
            small.run(&beyond).silent("fragment_invalid");
        }
    }
    // One that turns round passes through IPv4.
    let turned = |length| fragment_v6(HOST, "2001:db8:46::192.0.2.2", 17, 8188, false, &vec![1; length]);
    assert_eq!(Lab::default().run(&turned(11)).one().len(), 59);
    Lab::default().run(&turned(12)).silent("fragment_invalid");
}

#[test]
fn an_extension_header_behind_a_fragment_header_is_dropped() {
    for number in [0, 43, 51, 60, 135, 139, 140] {
        let packet = fragment_v6(HOST, CLIENT_V6, number, 0, true, &[17, 0, 0, 0, 0, 0, 0, 0]);
        Lab::default().run(&packet).silent("fragmented_extension");
    }
    let esp = fragment_v6(HOST, CLIENT_V6, 50, 0, true, &[1; 16]);
    assert_eq!(Lab::default().run(&esp).one()[9], 50);
}

#[test]
fn what_ipv4_cannot_express_is_refused() {
    let lab = Lab { ipv4_mtu: 65535, ..Lab::default() };
    lab.run(&ipv6(HOST, CLIENT_V6, 132, &[0; 65516])).answered("too_long", 1, 1);
    // Headers that go make room, to the last byte.
    let largest = fragment_v6(HOST, CLIENT_V6, 132, 0, false, &[0; 65515]);
    assert_eq!(lab.run(&largest).translated().len(), 65535);
    let larger = fragment_v6(HOST, CLIENT_V6, 132, 0, false, &[0; 65516]);
    lab.run(&larger).silent("fragment_invalid");
}

//! ICMP in the other family's terms: types, codes, pointers, MTUs, quotes, and the extensions of RFC 4884.

use dataplane::counters::Event;
use dataplane::offline::Outcome;
use dataplane::table::icmp_source::Choice;
use dataplane::table::translation::{IcmpSourceDefault, IcmpSourceExtension};

use super::lab::*;

/// A packet from the host to the client, as IPv4 has it.
fn about_v4() -> Vec<u8> {
    udp_v4(SERVICE, CLIENT, &payload(40))
}

/// A packet from the client to the host, as IPv6 has it.
fn about_v6() -> Vec<u8> {
    udp_v6(CLIENT_V6, HOST, &payload(40))
}

const ROUTER_V4: &str = "198.18.7.7";

#[test]
fn types_and_codes_towards_ipv6() {
    for kind in 0..=255_u8 {
        for code in 0..=20_u8 {
            let error = error_about_v4(ROUTER_V4, kind, code, [0, 0, 5, 120], &about_v4());
            let expected = match (kind, code) {
                (3, 0 | 1 | 5 | 6 | 7 | 8 | 11 | 12) => Some((1, 0)),
                (3, 2) => Some((4, 1)),
                (3, 3) => Some((1, 4)),
                (3, 4) => Some((2, 0)),
                (3, 9 | 10 | 13 | 15) => Some((1, 1)),
                (11, _) => Some((3, code)),
                (12, 0 | 2) => Some((4, 0)),
                (8, _) => Some((128, code)),
                (0, _) => Some((129, code)),
                _ => None,
            };
            let done = Lab::default().run(&error);
            match expected {
                None => done.silent("icmp_untranslatable"),
                Some((kind, code)) => {
                    let out = done.translated();
                    assert_eq!((icmp(&out)[0], icmp(&out)[1]), (kind, code));
                    if (kind, code) == (4, 1) {
                        assert_eq!(icmp(&out)[4..8], [0, 0, 0, 6], "the Next Header field");
                    }
                }
            }
        }
    }
}

#[test]
fn types_and_codes_towards_ipv4() {
    for kind in 0..=255_u8 {
        for code in 0..=10_u8 {
            let error = error_about_v6(UNMAPPED, kind, code, [0, 0, 0, 0], &about_v6());
            let expected = match (kind, code) {
                (1, 0 | 2 | 3) => Some((3, 1)),
                (1, 1) => Some((3, 10)),
                (1, 4) => Some((3, 3)),
                (2, _) => Some((3, 4)),
                (3, _) => Some((11, code)),
                (4, 0) => Some((12, 0)),
                (4, 1) => Some((3, 2)),
                _ => None,
            };
            let done = Lab::default().run(&error);
            match expected {
                None if matches!(kind, 128 | 129) => done.silent("source_not_mapped"),
                None => done.silent("icmp_untranslatable"),
                Some((kind, code)) => {
                    let out = done.translated();
                    assert_eq!((icmp(&out)[0], icmp(&out)[1]), (kind, code));
                    if !matches!((kind, code), (3, 4)) {
                        assert_eq!(icmp(&out)[4..8], [0; 4]);
                    }
                }
            }
        }
    }
}

#[test]
fn echo_keeps_identifier_sequence_and_data() {
    let rest = [0x12, 0x34, 0x56, 0x78];
    for (four, six) in [(8, 128), (0, 129)] {
        for length in [0, 1, 7, 56, 57] {
            let out =
                Lab::default().run(&icmp_v4(CLIENT, SERVICE, four, 0, rest, &payload(length))).translated();
            let message = icmp(&out);
            assert_eq!((message[0], &message[4..8], &message[8..]), (six, &rest[..], &payload(length)[..]));
            let out =
                Lab::default().run(&icmp_v6(HOST, CLIENT_V6, six, 0, rest, &payload(length))).translated();
            let message = icmp(&out);
            assert_eq!((message[0], &message[4..8], &message[8..]), (four, &rest[..], &payload(length)[..]));
        }
    }
}

#[test]
fn pointers_follow_their_fields() {
    for pointer in 0..=255_u8 {
        let expected = match pointer {
            0 => Some(0),
            1 => Some(1),
            2 | 3 => Some(4),
            8 => Some(7),
            9 => Some(6),
            12..=15 => Some(8),
            16..=19 => Some(24),
            _ => None,
        };
        let done =
            Lab::default().run(&error_about_v4(ROUTER_V4, 12, 0, [pointer, 0xff, 0, 0xff], &about_v4()));
        match expected {
            Some(pointer) => assert_eq!(icmp(&done.translated())[4..8], [0, 0, 0, pointer]),
            None => done.silent("icmp_untranslatable"),
        }
        let expected = match pointer {
            0 => Some(0),
            1 => Some(1),
            4 | 5 => Some(2),
            6 => Some(9),
            7 => Some(8),
            8..=23 => Some(12),
            24..=39 => Some(16),
            _ => None,
        };
        let done = Lab::default().run(&error_about_v6(UNMAPPED, 4, 0, [0, 0, 0, pointer], &about_v6()));
        match expected {
            Some(pointer) => assert_eq!(icmp(&done.translated())[4..8], [pointer, 0, 0, 0]),
            None => done.silent("icmp_untranslatable"),
        }
    }
    let done = Lab::default().run(&error_about_v6(UNMAPPED, 4, 0, [1, 0, 0, 0], &about_v6()));
    done.silent("icmp_untranslatable");
}

#[test]
fn reported_mtus_are_corrected_and_bounded() {
    for (reported, ipv6_mtu, ipv4_mtu, expected) in [
        (1400_u16, 1500, 1500, 1420_u32),
        (1500, 1500, 1500, 1500),
        (1480, 1400, 1500, 1400),
        (9000, 9000, 1500, 1520),
        (1260, 1500, 1500, 1280),
        (1259, 1500, 1500, 1280),
        (68, 1500, 1500, 1280),
        (1, 1500, 1500, 1280),
    ] {
        let lab = Lab { ipv6_mtu, ipv4_mtu, ..Lab::default() };
        let [high, low] = reported.to_be_bytes();
        let out =
            lab.run(&error_about_v4(ROUTER_V4, 3, 4, [0xff, 0xff, high, low], &about_v4())).translated();
        assert_eq!(icmp(&out)[4..8], expected.to_be_bytes(), "{reported} {ipv6_mtu} {ipv4_mtu}");
    }
    for (reported, ipv6_mtu, ipv4_mtu, expected) in [
        (1400_u32, 1500, 1500, 1380_u16),
        (9000, 1500, 1500, 1480),
        (9000, 1500, 1400, 1400),
        (9000, 9000, 1500, 1500),
        (1280, 1500, 1500, 1260),
        (0, 1500, 1500, 68),
        (u32::MAX, 1500, 1500, 1480),
    ] {
        let lab = Lab { ipv6_mtu, ipv4_mtu, ..Lab::default() };
        let out = lab.run(&error_about_v6(UNMAPPED, 2, 0, reported.to_be_bytes(), &about_v6())).translated();
        let [high, low] = expected.to_be_bytes();
        assert_eq!(icmp(&out)[4..8], [0, 0, high, low], "{reported} {ipv6_mtu} {ipv4_mtu}");
    }
}

#[test]
fn a_quoted_fragment_costs_eight_bytes_more() {
    let fragment = fragment_v6(CLIENT_V6, HOST, 17, 0, true, &about_v6()[40..]);
    let out =
        Lab::default().run(&error_about_v6(UNMAPPED, 2, 0, 1400_u32.to_be_bytes(), &fragment)).translated();
    assert_eq!(icmp(&out)[6..8], 1372_u16.to_be_bytes());
    // Also where the link of the box is the bottleneck: its fragments carry the header as well.
    let out =
        Lab::default().run(&error_about_v6(UNMAPPED, 2, 0, 9000_u32.to_be_bytes(), &fragment)).translated();
    assert_eq!(icmp(&out)[6..8], 1472_u16.to_be_bytes());
}

#[test]
fn an_old_router_without_an_mtu_is_guessed_by_plateaus() {
    let quoted = |length: u16| {
        let mut packet = about_v4();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet
    };
    let lab = Lab { ipv6_mtu: 9000, ipv4_mtu: 9000, ..Lab::default() };
    for (length, expected) in
        [(8166, 4372_u32), (8167, 8186), (1493, 1512), (1492, 1280), (1006, 1280), (65535, 9000)]
    {
        let out = lab.run(&error_about_v4(ROUTER_V4, 3, 4, [0; 4], &quoted(length))).translated();
        assert_eq!(icmp(&out)[4..8], expected.to_be_bytes(), "{length}");
    }
    let mut other = lab.clone();
    other.settings.mtu_plateaus = vec![5000, 1400];
    let out = other.run(&error_about_v4(ROUTER_V4, 3, 4, [0; 4], &quoted(8166))).translated();
    assert_eq!(icmp(&out)[4..8], 5020_u32.to_be_bytes());
}

// The quoted packet.

#[test]
fn a_quote_is_translated_but_not_forwarded() {
    // TTL, lengths and identification are those of the packet that was sent; the header checksum is not looked at.
    let mut quoted = with_ttl(about_v4(), 1);
    quoted[10] ^= 0xff;
    let out = Lab::default().run(&error_about_v4(ROUTER_V4, 11, 0, [0; 4], &quoted[..28])).translated();
    let inner = &icmp(&out)[8..];
    assert_eq!((inner.len(), inner[6], inner[7]), (48, 17, 1), "protocol and hop limit");
    assert_eq!(inner[4..6], 48_u16.to_be_bytes(), "the payload that was sent, not what is quoted of it");
    assert_eq!(address_v6(inner, 8).to_string(), HOST);
    assert_eq!(address_v6(inner, 24), CLIENT_V6.parse::<std::net::Ipv6Addr>().unwrap());

    let quoted = with_hop_limit(about_v6(), 1);
    let out = Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &quoted[..48])).translated();
    let inner = &icmp(&out)[8..];
    assert_eq!((inner.len(), inner[8], inner[9], &inner[4..8]), (28, 1, 17, &[0, 0, 0, 0][..]));
    assert_eq!(inner[2..4], 68_u16.to_be_bytes());
    assert_eq!(sum(&inner[..20]), 0xffff);
    assert_eq!(
        (address_v4(inner, 12).to_string(), address_v4(inner, 16).to_string()),
        (CLIENT.to_owned(), SERVICE.to_owned())
    );
}

#[test]
fn a_quote_comes_home_as_it_left() {
    // IPv4 packets of every kind cross to IPv6, an IPv6 router complains, and the sender reads its own packet again.
    let echo = icmp_v4(CLIENT, SERVICE, 8, 0, [1, 2, 3, 4], &payload(31));
    let later = with_fragment(sized_v4(133), false, false, 77);
    let kinds = [
        sized_v4(133),
        with_df(sized_v4(1400)),
        tcp_v4(CLIENT, SERVICE, &SYN, &payload(33)),
        echo,
        later,
        with_fragment(sized_v4(140), false, true, 0),
        ipv4(CLIENT, SERVICE, 132, &payload(55)),
    ];
    for sent in kinds {
        let there = Lab::default().run(&sent).one();
        for quoted in [there.len().min(1232), 48 + 8, 48] {
            let error = error_about_v6(UNMAPPED, 1, 4, [0; 4], &there[..quoted.min(there.len())]);
            let back = Lab::default().run(&error).translated();
            let inner = &icmp(&back)[8..];
            assert_eq!(inner[..2], sent[..2]);
            assert_eq!(inner[2..4], sent[2..4], "Total Length");
            assert_eq!(inner[9], sent[9], "protocol");
            assert_eq!(inner[12..20], sent[12..20], "addresses");
            assert_eq!(inner[20..], sent[20..inner.len()], "{quoted} bytes quoted of {sent:02x?}");
            if sent[6] & 0x3f != 0 || sent[7] != 0 {
                assert_eq!(inner[4..8], sent[4..8], "identification and offset of a fragment");
            }
        }
    }
}

#[test]
fn an_error_about_an_error_is_dropped() {
    let inner = error_about_v4(CLIENT, 3, 1, [0; 4], &about_v4());
    let error = icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0; 4], &inner);
    Lab::default().run(&error).silent("icmp_inner_untranslatable");
    let inner = error_about_v6(HOST, 1, 0, [0; 4], &about_v6());
    let error = icmp_v6(UNMAPPED, HOST, 3, 0, [0; 4], &inner);
    assert!(Lab::default().run(&error).out.is_empty());
    let error = icmp_v6(UNMAPPED, CLIENT_V6, 3, 0, [0; 4], &inner);
    Lab::default().run(&error).silent("icmp_inner_untranslatable");
}

#[test]
fn a_wrong_checksum_is_never_repaired() {
    let mut relay = Lab::default().relay();
    for at in [2, 12, 40] {
        let mut error = error_about_v4(ROUTER_V4, 11, 0, [0; 4], &about_v4());
        error[20 + at] ^= 0x5a;
        if let Some(out) = relay.run(&error).out.first() {
            assert_ne!(checked(out), 0xffff, "{at}");
        }
        let mut error = error_about_v6(UNMAPPED, 3, 0, [0; 4], &about_v6());
        error[40 + at] ^= 0x5a;
        if let Some(out) = relay.run(&error).out.first() {
            assert_ne!(checked(out), 0xffff, "{at}");
        }
    }
    assert!(relay.counts().event(Event::TranslatedIcmpErrors) > 2);
}

/// The sum over an ICMP message with its pseudo-header.
fn checked(packet: &[u8]) -> u16 {
    let mut bytes = Vec::new();
    if packet[0] >> 4 == 6 {
        bytes.extend(&packet[8..40]);
        bytes.extend([0, 0, packet[4], packet[5], 0, 0, 0, 58]);
    }
    bytes.extend(icmp(packet));
    sum(&bytes)
}

#[test]
fn an_error_about_a_packet_that_cannot_have_been_is_dropped() {
    for address in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1"] {
        let embedded = format!("2001:db8:46::{address}");
        let quoted = udp_v6(&embedded, HOST, &[1; 8]);
        let error = icmp_v6(UNMAPPED, CLIENT_V6, 1, 0, [0; 4], &quoted);
        Lab::default().run(&error).silent("icmp_inner_untranslatable");
    }
    // Nor one of addresses without a mapping, nor half a header.
    let quoted = udp_v6(CLIENT_V6, UNMAPPED, &[1; 8]);
    Lab::default()
        .run(&icmp_v6(UNMAPPED, CLIENT_V6, 1, 0, [0; 4], &quoted))
        .silent("icmp_inner_untranslatable");
    let error = icmp_v6(UNMAPPED, CLIENT_V6, 1, 0, [0; 4], &about_v6()[..39]);
    Lab::default().run(&error).silent("icmp_inner_untranslatable");
    let error = icmp_v4(ROUTER_V4, SERVICE, 3, 1, [0; 4], &about_v4()[..19]);
    Lab::default().run(&error).silent("icmp_inner_untranslatable");
}

// Extensions.

/// A multi-part structure that nobody here understands: version 2, one object of class 9.
fn extension(length: usize) -> Vec<u8> {
    let mut structure = vec![0x20, 0, 0, 0];
    structure.extend(u16::try_from(length - 4).unwrap().to_be_bytes());
    structure.extend([9, 1]);
    structure.extend(payload(length - 8));
    let checksum = !sum(&structure);
    structure[2..4].copy_from_slice(&checksum.to_be_bytes());
    structure
}

fn padded(packet: &[u8], length: usize) -> Vec<u8> {
    let mut quote = packet.to_vec();
    quote.resize(length, 0);
    quote
}

/// An ICMPv4 error whose quote has `quote` bytes before `structure`.
fn extended_v4(kind: u8, code: u8, quote: usize, structure: &[u8]) -> Vec<u8> {
    let words = u8::try_from(quote / 4).unwrap();
    let mut body = padded(&about_v4(), quote);
    body.extend(structure);
    icmp_v4(ROUTER_V4, SERVICE, kind, code, [0, words, 0, 0], &body)
}

/// An ICMPv6 error whose quote has `quote` bytes before `structure`.
fn extended_v6(kind: u8, code: u8, quote: usize, structure: &[u8]) -> Vec<u8> {
    let words = u8::try_from(quote / 8).unwrap();
    let mut body = padded(&about_v6(), quote);
    body.extend(structure);
    icmp_v6(UNMAPPED, CLIENT_V6, kind, code, [words, 0, 0, 0], &body)
}

#[test]
fn extensions_keep_their_bytes_behind_a_quote_of_the_right_length() {
    let structure = extension(20);
    for kind in [3, 11] {
        for (quote, words) in [(128, 19), (132, 19), (136, 20), (200, 28)] {
            let out = Lab::default().run(&extended_v4(kind, 1, quote, &structure)).translated();
            let message = icmp(&out);
            assert_eq!(message[4..8], [words, 0, 0, 0], "{quote}");
            let end = 8 + 8 * usize::from(words);
            assert_eq!(message[end..], structure, "{quote}");
        }
    }
    for kind in [1, 3] {
        for (quote, words) in [(128, 32), (152, 33), (160, 35), (512, 123)] {
            let out = Lab::default().run(&extended_v6(kind, 0, quote, &structure)).translated();
            let message = icmp(&out);
            assert_eq!(message[4..8], [0, words, 0, 0], "{quote}");
            let end = 8 + 4 * usize::from(words);
            assert_eq!(message[end..], structure, "{quote}");
            if quote == 128 {
                assert_eq!(message[8 + 108..end], [0; 20], "padded to 128 again");
            }
        }
    }
}

#[test]
fn a_quote_shorter_than_rfc_4884_wants_is_accepted() {
    let structure = extension(12);
    let out = Lab::default().run(&extended_v4(11, 0, 68, &structure)).translated();
    assert_eq!((icmp(&out)[4], &icmp(&out)[8 + 128..]), (16, &structure[..]));
}

#[test]
fn a_length_of_zero_or_past_the_end_means_no_extension() {
    let without = icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0; 4], &about_v4());
    let plain = Lab::default().run(&without).translated();
    for words in [17, 18, 255] {
        let error = icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0, words, 0, 0], &about_v4());
        let out = Lab::default().run(&error).translated();
        assert_eq!((icmp(&out)[4], out.len()), (0, plain.len()), "{words}");
    }
    // Three bytes are too few for a structure.
    let mut body = about_v4();
    body.extend([0x20, 0, 0]);
    let error = icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0, 17, 0, 0], &body);
    assert_eq!(icmp(&Lab::default().run(&error).translated())[4], 0);
    let plain = Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about_v6())).translated();
    for words in [11, 12, 255] {
        let out =
            Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [words, 0, 0, 0], &about_v6())).translated();
        assert_eq!((icmp(&out)[5], out.len()), (0, plain.len()), "{words}");
    }
}

#[test]
fn types_without_extensions_lose_theirs() {
    let structure = extension(20);
    for (kind, code, rest) in [(3, 2, [0, 0, 0, 6]), (3, 4, [0, 0, 5, 0]), (12, 0, [0, 0, 0, 0])] {
        let out = Lab::default().run(&extended_v4(kind, code, 128, &structure)).translated();
        let quote = 40 + about_v4().len() - 20;
        assert_eq!(out.len(), 40 + 8 + quote, "{kind}/{code}: the quote stays, extension and padding go");
        assert_eq!(icmp(&out)[4..8], rest, "{kind}/{code}: no length among the MTU or pointer");
    }
}

#[test]
fn what_exceeds_1280_bytes_loses_its_extension_then_the_end_of_its_quote() {
    let mut long = about_v4();
    long.resize(1020, 0x33);
    let mut body = long.clone();
    body.extend(extension(400));
    let out = Lab::default().run(&icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0, 255, 0, 0], &body)).translated();
    let unpadded = 40 + about_v4().len() - 20;
    assert_eq!((out.len(), &icmp(&out)[4..8]), (40 + 8 + unpadded, &[0; 4][..]));
    let mut body = about_v4();
    body.resize(1400, 0x33);
    let error = icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0; 4], &body);
    for packet in [error.clone(), with_df(error)] {
        let out = Lab::default().run(&packet).translated();
        assert_eq!(out.len(), 1280, "cut, neither fragmented nor refused");
    }
}

#[test]
fn a_quote_gives_way_to_its_extension_towards_ipv4() {
    let structure = extension(20);
    for quote in [560, 568, 1040, 1048] {
        let out = Lab::default().run(&extended_v6(3, 0, quote, &structure)).translated();
        let message = icmp(&out);
        assert_eq!((message[5], out.len()), (132, 576), "{quote}");
        assert_eq!(message[8 + 528..], structure);
    }
    // No quote is cut below 128 bytes for it.
    let large = extension(424);
    let out = Lab::default().run(&extended_v6(3, 0, 128, &extension(420))).translated();
    assert_eq!((icmp(&out)[5], out.len()), (32, 576));
    let out = Lab::default().run(&extended_v6(3, 0, 128, &large)).translated();
    assert_eq!((icmp(&out)[5], out.len()), (0, 20 + 8 + about_v6().len() - 20));
}

#[test]
fn an_error_is_cut_to_what_the_way_carries_and_never_fragmented() {
    for (mtu, largest) in [(1500, 576_usize), (577, 576), (576, 576), (575, 575), (296, 296), (68, 68)] {
        let lab = Lab { ipv4_mtu: mtu, ..Lab::default() };
        for length in [largest - 1, largest, largest + 1, 1260] {
            let mut about = about_v6();
            about.resize(length + 20 - 28, 0x55);
            about[4..6].copy_from_slice(&1400_u16.to_be_bytes());
            let out = lab.run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about)).translated();
            assert_eq!(out.len(), length.min(largest), "{mtu} {length}");
        }
    }
    for length in [1279, 1280, 1281] {
        let mut about = about_v4();
        about.resize(length - 68, 0x55);
        about[2..4].copy_from_slice(&1400_u16.to_be_bytes());
        let out = Lab::default().run(&icmp_v4(ROUTER_V4, SERVICE, 11, 0, [0; 4], &about)).translated();
        assert_eq!(out.len(), length.min(1280));
    }
}

#[test]
fn the_largest_messages_are_cut_before_anything_is_added() {
    let structure = extension(20);
    for (quote, words) in [(48, 6), (128, 16), (2040, 255)] {
        let mut body = padded(&about_v6(), quote);
        body.extend(&structure);
        body.resize(65507, 0);
        let error = icmp_v6(UNMAPPED, CLIENT_V6, 1, 0, [words, 0, 0, 0], &body);
        assert_eq!(error.len(), 65555);
        for extension in [IcmpSourceExtension::Off, IcmpSourceExtension::NodeId, IcmpSourceExtension::Rfc5837]
        {
            let lab = Lab::with(|settings| settings.icmp_source_extension = extension);
            assert!(lab.run(&error).translated().len() <= 576);
        }
        // The same, turned round.
        let mut turned = about_v6();
        turned[8..24]
            .copy_from_slice(&"2001:db8:46::192.0.2.2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        body[..turned.len()].copy_from_slice(&turned);
        let error = icmp_v6(UNMAPPED, "2001:db8:46::192.0.2.2", 1, 0, [words, 0, 0, 0], &body);
        let done = Lab::default().run(&error);
        assert_eq!(done.outcome, Outcome::Hairpinned);
        assert!(done.one().len() <= 1280);
    }
}

// Errors of routers without an IPv4 form (RFC 6791).

fn routers() -> impl Iterator<Item = String> {
    (1..=256).map(|number| format!("2001:db8:ca7::{number:x}"))
}

#[test]
fn errors_of_unmapped_routers_come_from_the_pool() {
    let out = Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(source_v4(&out).to_string(), "198.51.100.1");
    // Routers with an address of their own keep it.
    let out = Lab::default().run(&error_about_v6(HOST_B, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(source_v4(&out).to_string(), SERVICE_B);
    let embedded = "2001:db8:46::198.18.7.7";
    let out = Lab::default().run(&error_about_v6(embedded, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(source_v4(&out).to_string(), ROUTER_V4);
    // The pool is for errors alone.
    let echo = icmp_v6(UNMAPPED, CLIENT_V6, 129, 0, [0; 4], &[1]);
    Lab::default().run(&echo).silent("source_not_mapped");
    let empty = Lab { icmp_sources: Vec::new(), ..Lab::default() };
    let out = empty.run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(source_v4(&out).to_string(), "192.0.0.8", "the dummy address");
    let mut own = empty.clone();
    own.settings.icmp_source_default = IcmpSourceDefault::Own;
    let out = own.run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(source_v4(&out), OWN_V4);
    empty.run(&echo).silent("source_not_mapped");
}

#[test]
fn a_larger_pool_is_drawn_from_by_hash_or_at_random() {
    for (choice, stable) in [(Choice::Hash, true), (Choice::Random, false)] {
        let lab = Lab { icmp_sources: vec!["198.51.100.8/29"], choice, ..Lab::default() };
        let mut relay = lab.relay();
        let mut used = std::collections::BTreeMap::new();
        let mut changed = 0;
        for router in routers() {
            let error = error_about_v6(&router, 3, 0, [0; 4], &about_v6());
            let mut picked: Vec<_> = (0..8).map(|_| source_v4(&relay.run(&error).translated())).collect();
            for source in &picked {
                *used.entry(*source).or_insert(0) += 1;
            }
            picked.dedup();
            changed += usize::from(picked.len() > 1);
        }
        assert_eq!(changed == 0, stable, "{choice:?}");
        assert_eq!(used.len(), 8, "every address is used: {used:?}");
        // 2048 draws over 8 addresses: 256 each, give or take.
        assert!(used.values().all(|count| (128..=384).contains(count)), "{used:?}");
    }
}

#[test]
fn the_real_source_is_named_where_that_is_asked_for() {
    let naming = Lab::with(|settings| settings.icmp_source_extension = IcmpSourceExtension::Rfc5837);
    for (kind, code) in [(1, 0), (1, 4), (2, 0), (3, 0), (4, 0), (4, 1)] {
        for size in [60, 500, 1232] {
            let mut about = about_v6();
            about.resize(size, 0x44);
            let rest = if kind == 2 { 1400_u32.to_be_bytes() } else { [0; 4] };
            let out = naming.run(&error_about_v6(UNMAPPED, kind, code, rest, &about)).translated();
            let message = icmp(&out);
            assert!(out.len() <= 576, "{kind} {size}");
            let at = 8 + 4 * usize::from(message[5]);
            assert!(at >= 8 + 128, "{kind} {size}");
            let structure = &message[at..];
            assert_eq!(structure[..2], [0x20, 0]);
            assert_eq!(sum(structure), 0xffff, "the structure has its own checksum");
            assert_eq!(structure[4..12], [0, 24, 2, 4, 0, 2, 0, 0]);
            assert_eq!(address_v6(structure, 12).to_string(), UNMAPPED);
            assert_eq!(structure.len(), 28);
            if kind == 2 {
                assert_eq!(message[6..8], 1380_u16.to_be_bytes());
            }
        }
    }
    // A mapped router is its own name; an existing structure stays alone; echo has none; off is off.
    let plain = naming.run(&error_about_v6(HOST_B, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(icmp(&plain)[5], 0);
    let structure = extension(20);
    let kept = naming.run(&extended_v6(3, 0, 152, &structure)).translated();
    assert_eq!(icmp(&kept)[8 + 132..], structure);
    let echo = naming.run(&icmp_v6(HOST, CLIENT_V6, 128, 0, [0; 4], &[1])).translated();
    assert_eq!(echo.len(), 29);
    let off = Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about_v6())).translated();
    assert_eq!(icmp(&off)[5], 0);
}

#[test]
fn the_node_identification_object_names_the_source() {
    let naming = Lab {
        icmp_sources: Vec::new(),
        ..Lab::with(|settings| settings.icmp_source_extension = IcmpSourceExtension::NodeId)
    };
    for (kind, code) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        for size in [60, 540, 548, 556, 1232] {
            let mut about = about_v6();
            about.resize(size, 0x44);
            let out = naming.run(&error_about_v6(UNMAPPED, kind, code, [0; 4], &about)).translated();
            assert!(out.len() <= 576, "{kind} {size}");
            assert_eq!(source_v4(&out).to_string(), "192.0.0.8");
            let message = icmp(&out);
            let at = 8 + 4 * usize::from(message[5]);
            assert!(at >= 8 + 128, "{kind} {size}");
            let structure = &message[at..];
            assert_eq!(structure.len(), 28);
            assert_eq!(sum(structure), 0xffff);
            assert_eq!(structure[4..12], [0, 24, 5, 4, 0, 2, 0, 0]);
            assert_eq!(address_v6(structure, 12).to_string(), UNMAPPED);
        }
    }
    // Appended to a structure that is there, for which the quote gives way.
    for (length, zero) in [(20, false), (20, true), (8, false)] {
        let mut structure = extension(length);
        if zero {
            structure[2..4].fill(0);
        }
        for quote in [128, 152, 1000] {
            let out = naming.run(&extended_v6(3, 0, quote, &structure)).translated();
            let message = icmp(&out);
            assert!(out.len() <= 576);
            let extended = &message[8 + 4 * usize::from(message[5])..];
            assert_eq!(extended.len(), length + 24);
            assert_eq!(extended[4..length], structure[4..]);
            assert_eq!(extended[length..length + 8], [0, 24, 5, 4, 0, 2, 0, 0]);
            assert_eq!(if zero { 0xffff } else { sum(extended) }, 0xffff, "{length} {quote}");
            assert_eq!(extended[2..4] == [0, 0], zero, "no checksum stays none");
        }
    }
    // Never about a source that has an IPv4 form.
    for mapped in [HOST_B, "2001:db8:46::198.18.7.7"] {
        let out = naming.run(&error_about_v6(mapped, 3, 0, [0; 4], &about_v6())).translated();
        assert_eq!(icmp(&out)[5], 0, "{mapped}");
    }
}

#[test]
fn the_dummy_address_is_a_source_and_no_destination() {
    for prefix in ["2001:db8:46::/96", "64:ff9b::/96"] {
        let lab = Lab { prefixes: vec![prefix], ..Lab::default() };
        let about = udp_v4(SERVICE, "8.8.8.8", &[1; 8]);
        let out = lab.run(&error_about_v4("192.0.0.8", 3, 4, [0, 0, 5, 0], &about)).translated();
        let source = source_v6(&out).to_string();
        // The Well-Known Prefix must not represent it: the relay speaks for the router.
        let expected =
            if prefix == "64:ff9b::/96" { OWN_V6.to_string() } else { "2001:db8:46::c000:8".to_owned() };
        assert_eq!(source, expected);
    }
    Lab::default().run(&udp_v4(CLIENT, "192.0.0.8", &[1])).silent("illegal_destination");
    Lab::default().run(&udp_v6(HOST, "2001:db8:46::192.0.0.8", &[1])).silent("illegal_destination");
}

#[test]
fn without_a_prefix_the_relay_speaks_for_ipv4_routers() {
    let lab = Lab {
        prefixes: Vec::new(),
        eams: vec![("192.0.2.1/32", "2001:db8:12:34::1/128"), ("203.0.113.50/32", "2001:db8:c::50/128")],
        ..Lab::default()
    };
    let out = lab.run(&error_about_v4(ROUTER_V4, 3, 4, [0, 0, 5, 0], &about_v4())).translated();
    assert_eq!(source_v6(&out), OWN_V6);
    assert_eq!(lab.run(&udp_v4(CLIENT, SERVICE, &[1])).translated().len(), 49);
    assert_eq!(lab.run(&udp_v6(HOST, "2001:db8:c::50", &[1])).translated().len(), 29);
    lab.run(&udp_v4(ROUTER_V4, SERVICE, &[1])).answered("source_not_mapped", 3, 13);
    let native = lab.run(&udp_v6(UNMAPPED, HOST, &[1]));
    assert_eq!(native.outcome, Outcome::Native);
}

#[test]
fn a_quoted_length_that_cannot_be_loses_no_error() {
    let plain = Lab::default().run(&error_about_v4(ROUTER_V4, 11, 0, [0; 4], &about_v4())).translated();
    for length in [0_u16, 1, 19] {
        let mut about = about_v4();
        about[2..4].copy_from_slice(&length.to_be_bytes());
        let out = Lab::default().run(&error_about_v4(ROUTER_V4, 11, 0, [0; 4], &about)).translated();
        assert_eq!(out[48..], plain[48..], "the length of what is quoted");
    }
    let mut about = about_v6();
    about[4..6].fill(0);
    let out = Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &about)).translated();
    assert_eq!(usize::from(u16::from_be_bytes([out[30], out[31]])), out.len() - 28);
}

/// Found by the fuzzer, in its own reading of what the relay had written.
#[test]
fn a_quoted_fragment_may_be_empty() {
    let (mut up, mut down) = (about_v4(), about_v6());
    up.truncate(20);
    up[2..4].copy_from_slice(&20_u16.to_be_bytes());
    up[6..8].copy_from_slice(&[0x3f, 0xff]);
    up.resize(128, 0);
    let out = Lab::default().run(&error_about_v4(ROUTER_V4, 11, 0, [0; 4], &up)).translated();
    assert_eq!(out[52..54], [0, 8], "Payload Length of a Fragment header alone");

    down[6] = dataplane::wire::protocol::FRAGMENT;
    down.truncate(40);
    down[4..6].copy_from_slice(&8_u16.to_be_bytes());
    down.extend([17, 0, 0xff, 0xf9, 0, 0, 0, 1]);
    down.resize(128, 0);
    let out = Lab::default().run(&error_about_v6(UNMAPPED, 3, 0, [0; 4], &down)).translated();
    assert_eq!(out[30..32], [0, 20], "Total Length of a header alone");
}

#[test]
fn errors_of_private_routers_are_translated_for_the_sake_of_traceroute() {
    for router in ["10.0.0.1", "127.0.0.1", "0.0.0.0", "240.0.0.1", "169.254.9.9"] {
        let out = Lab::default().run(&error_about_v4(router, 11, 0, [0; 4], &about_v4())).translated();
        assert_eq!(source_v6(&out), format!("2001:db8:46::{router}").parse::<std::net::Ipv6Addr>().unwrap());
    }
    // The Well-Known Prefix cannot carry them.
    let lab = Lab { prefixes: vec!["64:ff9b::/96"], ..Lab::default() };
    let done = lab.run(&error_about_v4("10.0.0.1", 11, 0, [0; 4], &udp_v4(SERVICE, "8.8.8.8", &[1; 8])));
    assert!(matches!(done.outcome, Outcome::Dropped(_)), "{done:?}");
}

#[test]
fn translated_errors_are_counted() {
    let mut relay = Lab::default().relay();
    relay.run(&error_about_v4(ROUTER_V4, 3, 4, [0, 0, 5, 0], &about_v4())).translated();
    relay.run(&error_about_v4(ROUTER_V4, 11, 0, [0; 4], &about_v4())).translated();
    relay.run(&error_about_v6(UNMAPPED, 2, 0, 1400_u32.to_be_bytes(), &about_v6())).translated();
    let counts = relay.counts();
    assert_eq!(counts.event(Event::TranslatedIcmpErrors), 3);
    assert_eq!(counts.event(Event::TranslatedPacketTooBig), 2);
    assert_eq!(counts.event(Event::TranslatedV4ToV6), 2);
    assert_eq!(counts.event(Event::TranslatedV6ToV4), 1);
}

//! The requirements of docs/conformance.md that differences fall under, and where other translators are known to leave the
//! RFCs.

/// A requirement: its id in docs/conformance.md and what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Requirement(pub(super) &'static str, pub(super) &'static str);

macro_rules! requirements {
    ($($name:ident = $id:literal, $text:literal;)*) => {
        $(pub(super) const $name: Requirement = Requirement($id, $text);)*
        /// All of them.
        #[cfg(test)]
        const ALL: &[Requirement] = &[$($name),*];
    };
}

requirements! {
    FLOW_LABEL = "A2.1", "version 6, flow label 0";
    CLASS_6 = "A2.2", "Traffic Class is the whole Type of Service";
    HOPS_6 = "A2.6", "exactly one hop is taken off";
    ADDRESSES = "A2.8", "each address on its own: EAM first, prefix second";
    SOURCE_ROUTE = "A3.2", "an unexpired source route ends the packet";
    FRAGMENT_HEADER = "A4.1", "a Fragment header only for fragments and for what is cut";
    FRAGMENT_FIELDS_6 = "A4.2", "the Fragment header takes offset, MF and Identification over";
    CUT_6 = "A4.3", "DF 0 and larger than the lowest IPv6 MTU: cut to fit";
    FRAGMENT_DF = "A4.10", "a fragment with DF that does not fit is answered";
    PROTOCOL_6 = "A2.5", "Next Header is the protocol, ICMP becoming ICMPv6";
    ICMP_TYPE_6 = "A5.6", "ICMP types and codes";
    ICMP_MTU_6 = "A5.20", "the MTU of packet too big: corrected by 20, bounded by both links, at least 1280";
    ICMP_POINTER_6 = "A5.13", "parameter problem: the pointer follows its field";
    QUOTE_6 = "A5.22", "the quoted packet is translated like any other";
    EXTENSION_6 = "A5.28", "RFC 4884 extensions stay";
    ANSWER_4 = "A6.1", "a discarded IPv4 packet is answered";
    UDP_ZERO = "A7.5", "UDP without a checksum";
    TRANSPORT_6 = "A1.1", "header replaced, payload kept, checksums follow";
    CLASS_4 = "B2.2", "Type of Service is the Traffic Class";
    LENGTH_4 = "B2.3", "Total Length leaves skipped extension headers out";
    DF_4 = "B2.5", "DF 0 up to 1260 bytes of IPv4, DF 1 above";
    HOPS_4 = "B2.6", "one hop is taken off";
    PROTOCOL_4 = "B2.7", "protocol is the first header not skipped";
    CHECKSUM_4 = "B2.8", "the header checksum is right";
    ROUTING_HEADER = "B2.10", "a Routing header with segments left: 4/0";
    FRAGMENT_FIELDS_4 = "B3.1", "the Fragment header gives Identification, MF and offset; DF 0";
    FRAGMENT_THEN_EXTENSION = "B3.3", "an extension header behind a Fragment header: drop";
    CUT_4 = "B3.6", "up to 1280 bytes the box fragments for a smaller IPv4 link";
    TOO_BIG_4 = "B3.8", "DF 1 and too large: 2/0";
    ICMP_TYPE_4 = "B4.4", "ICMPv6 types and codes";
    ICMP_MTU_4 = "B4.8", "fragmentation needed with the MTU less 20, bounded by both links";
    ICMP_POINTER_4 = "B4.11", "parameter problem: the pointer follows its field";
    QUOTE_4 = "B4.21", "the quoted packet is translated like any other, its hop limit kept";
    QUOTE_HEADER_4 = "B4.22", "the quoted header: DF by its own size, identification 0, extension headers removed";
    EXTENSION_4 = "B4.24", "extensions stay, the quote shrunk and padded again";
    TRANSPORT_4 = "B5.4", "TCP, UDP and ICMP checksums are corrected";
    ANSWER_6 = "B5.1", "a discarded IPv6 packet is answered";
    SCREEN = "C7", "derived addresses are screened, spoofing is refused";
    ICMP_SOURCE = "C12", "sources of untranslatable routers by RFC 6791";
    HAIRPIN = "D13", "hairpinning exists and is on";
    DISCARD = "I27", "every discard is counted by reason";
    NATIVE = "B1.1", "IPv6 destinations that stand for IPv4 hosts are translated, others routed";
    OWN_PRECEDENCE = "I10", "own ICMPv4 errors have precedence 6";
    OWN_QUOTE = "I15", "own ICMPv6 errors quote up to 1280 bytes";
    OWN_QUOTE_4 = "A6.4", "own ICMPv4 errors quote at most 576 bytes";
    HOP_LIMIT_4 = "A2.7", "TTL 0 or 1 on arrival: time exceeded";
    FRAGMENTED_ICMP = "A4.13", "fragmented ICMP is not translated";
}

/// Packets between two mapped hosts that do not come back.
pub(super) const NO_HAIRPIN: &str = "TAYGA refuses packets between two mapped hosts (T-2)";

/// The requirement a reason of ours stands for, and who is known not to follow it.
pub(super) fn reason(reason: &str, from_ipv6: bool) -> (Requirement, Option<&'static str>) {
    let jool_native = "Jool hands what it cannot translate to its kernel (J-14)";
    let tayga = |text| Some(text);
    match reason {
        "hop_limit_exceeded" if from_ipv6 => (HOPS_4, None),
        "hop_limit_exceeded" => (HOP_LIMIT_4, None),
        "source_route" => (SOURCE_ROUTE, tayga("TAYGA never looks at IPv4 options (T-11)")),
        "packet_too_big" if from_ipv6 => (TOO_BIG_4, None),
        "packet_too_big" => {
            (FRAGMENT_DF, tayga("TAYGA does not respect DF on packets that are fragments (T-1)"))
        }
        "fragmented_icmp" => (FRAGMENTED_ICMP, None),
        "fragmented_extension" => (
            FRAGMENT_THEN_EXTENSION,
            Some("Jool answers with ICMPv6 1/1 (J-1), two Fragment headers excepted (J-2)"),
        ),
        "routing_header" => (ROUTING_HEADER, None),
        name if name.starts_with("udp_") => {
            (UDP_ZERO, Some("Jool answers the packet it drops (J-5); TAYGA can forward the zero (T-8)"))
        }
        "spoofed_source" | "illegal_source" | "illegal_destination" => (
            SCREEN,
            Some(
                "Jool and TAYGA refuse no spoofed sources; TAYGA translates class E (T-9), Jool knows only ::1 (J-13)",
            ),
        ),
        "source_not_mapped" | "denied" | "denylist" if from_ipv6 => (ANSWER_6, Some(jool_native)),
        "source_not_mapped" | "denied" | "denylist" => (ANSWER_4, Some(jool_native)),
        _ => (DISCARD, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_one_of_the_conformance_sheet() {
        let sheet = include_str!("../../docs/conformance.md");
        for Requirement(id, _) in ALL {
            assert!(sheet.contains(&format!("| {id} |")), "{id}");
        }
    }
}

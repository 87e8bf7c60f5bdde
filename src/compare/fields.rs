//! Two packets, field by field.

use serde::Serialize;

use super::known::{self, Requirement};
use super::view::{ICMP, View};

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    #[serde(skip)]
    pub(super) requirement: Requirement,
    pub(super) field: &'static str,
    pub(super) ours: String,
    pub(super) theirs: String,
    /// Whose known habit it is.
    pub(super) known: Option<&'static str>,
}

/// What is compared.
pub(super) struct Both<'p> {
    pub(super) input: View<'p>,
    pub(super) ours: View<'p>,
    pub(super) theirs: View<'p>,
    /// An ICMP error that the translators made themselves: its source and its Time to Live are their own affair.
    pub(super) is_own: bool,
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add<T: PartialEq + ToString>(
        &mut self,
        requirement: Requirement,
        field: &'static str,
        (ours, theirs): (T, T),
        known: Option<&'static str>,
    ) {
        if ours != theirs {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            self.0.push(Difference { requirement, field, ours, theirs, known });
        }
    }
}

impl Both<'_> {
    /// Every field that differs, in the order of the headers.
    pub(super) fn differences(&self) -> Vec<Difference> {
        let mut found = Differences(Vec::new());
        self.header(&mut found);
        if self.ours.fragment.is_some() || self.theirs.fragment.is_some() {
            self.fragment(&mut found);
        }
        let before = found.0.len();
        if self.ours.protocol == ICMP && self.ours.fragment.is_none() {
            self.icmp(&mut found);
        }
        // A checksum differs whenever something under it does.
        if found.0.len() == before {
            self.transport(&mut found);
        }
        found.0
    }

    fn pick<T>(&self, to_ipv6: T, to_ipv4: T) -> T {
        if self.ours.is_ipv6 { to_ipv6 } else { to_ipv4 }
    }

    fn header(&self, found: &mut Differences) {
        let (ours, theirs) = (&self.ours, &self.theirs);
        let class =
            if self.is_own { known::OWN_PRECEDENCE } else { self.pick(known::CLASS_6, known::CLASS_4) };
        let class_name = self.pick("Traffic Class", "Type of Service");
        let known = self.is_own.then_some("TAYGA sends its own errors with Type of Service 0");
        found.add(class, class_name, (ours.class, theirs.class), known);
        found.add(known::FLOW_LABEL, "flow label", (ours.flow_label, theirs.flow_label), None);
        if !self.is_own {
            let hops = self.pick(known::HOPS_6, known::HOPS_4);
            let known = "the kernel in front of and behind a translator on a tun device takes hops, too: capture on that device";
            found.add(hops, self.pick("hop limit", "Time to Live"), (ours.hops, theirs.hops), Some(known));
            let is_error = self.input.quote().is_some();
            let (requirement, known) = if is_error {
                let own = "TAYGA gives errors of such routers its own ipv4-addr (T-6); Jool picks from its pool (J-11)";
                (known::ICMP_SOURCE, Some(own))
            } else {
                (known::ADDRESSES, None)
            };
            found.add(requirement, "source", (ours.source, theirs.source), known);
        }
        found.add(known::ADDRESSES, "destination", (ours.destination, theirs.destination), None);
        let protocol = self.pick(known::PROTOCOL_6, known::PROTOCOL_4);
        found.add(protocol, "protocol", (ours.protocol, theirs.protocol), None);
        if let (Some(ours_df), Some(theirs_df)) = (ours.dont_fragment, theirs.dont_fragment)
            && !self.is_own
        {
            let known = match (ours_df, theirs_df) {
                (true, false) => {
                    "TAYGA since 0.9.3 sets DF above 1280 bytes of IPv6 payload (T-10), nat46 and YANET never do"
                }
                _ => "TAYGA 0.9.2 follows RFC 6145 and always sets DF; RFC 7915 does not (C9)",
            };
            found.add(known::DF_4, "DF", (u8::from(ours_df), u8::from(theirs_df)), Some(known));
        }
        if !theirs.checksum_right {
            found.add(known::CHECKSUM_4, "header checksum", ("right", "wrong"), None);
        }
    }

    fn fragment(&self, found: &mut Differences) {
        let (Some(ours), Some(theirs)) = (self.ours.fragment, self.theirs.fragment) else {
            let has = |view: &View<'_>| if view.fragment.is_some() { "yes" } else { "no" };
            let known = "TAYGA with strict-frag-hdr and translators of RFC 6145 add it to whole packets (C8)";
            found.add(known::FRAGMENT_HEADER, "fragment", (has(&self.ours), has(&self.theirs)), Some(known));
            return;
        };
        let requirement = self.pick(known::FRAGMENT_FIELDS_6, known::FRAGMENT_FIELDS_4);
        // Only of a fragment does the identification come from the sender.
        if self.input.fragment.is_some() {
            found.add(requirement, "identification", (ours.identification, theirs.identification), None);
        }
        found.add(requirement, "fragment offset", (ours.offset, theirs.offset), None);
        found.add(requirement, "more fragments", (ours.more, theirs.more), None);
    }

    fn icmp(&self, found: &mut Differences) {
        let (ours, theirs) = (self.ours.payload, self.theirs.payload);
        let kind = |message: &[u8]| match message {
            [kind, code, ..] => format!("{kind}/{code}"),
            _ => "none".to_owned(),
        };
        let requirement = self.pick(known::ICMP_TYPE_6, known::ICMP_TYPE_4);
        found.add(requirement, "ICMP type/code", (kind(ours), kind(theirs)), None);
        let (Some(ours_quote), Some(theirs_quote)) = (self.ours.quote(), self.theirs.quote()) else { return };
        self.rest_of_header(found, ours.get(4..8), theirs.get(4..8));
        let common = ours_quote.len().min(theirs_quote.len());
        let quote = self.pick(known::QUOTE_6, known::QUOTE_4);
        if self.is_own {
            let known = Some("both may quote less than there is; Jool and TAYGA do");
            let requirement = self.pick(known::OWN_QUOTE, known::OWN_QUOTE_4);
            found.add(requirement, "length of the quote", (ours_quote.len(), theirs_quote.len()), known);
        } else if ours_quote.len() != theirs_quote.len() {
            let extension = self.pick(known::EXTENSION_6, known::EXTENSION_4);
            let known = Some(
                "TAYGA drops RFC 4884 extensions (T-7); Jool cuts errors to 576 or 1280 bytes (J-9) and drops extensions where \
                 the other family has no length (J-7)",
            );
            found.add(
                extension,
                "length behind the ICMP header",
                (ours_quote.len(), theirs_quote.len()),
                known,
            );
        }
        let differs = (0..common).filter(|at| ours_quote[*at] != theirs_quote[*at]);
        // A header checksum differs whenever something in the header does.
        let is_telling = |at: &usize| self.ours.is_ipv6 || !(10..12).contains(at);
        for at in differs.filter(is_telling).take(3) {
            let (requirement, known) = match (self.ours.is_ipv6, at) {
                (false, 2..8) => {
                    (known::QUOTE_HEADER_4, Some("TAYGA 0.9.2 sets DF in quotes as it does outside of them"))
                }
                _ => (quote, None),
            };
            let values = (format!("{:#04x}", ours_quote[at]), format!("{:#04x}", theirs_quote[at]));
            found.add(requirement, self.quoted_field(at), values, known);
        }
    }

    /// MTU or pointer.
    fn rest_of_header(&self, found: &mut Differences, ours: Option<&[u8]>, theirs: Option<&[u8]>) {
        let word = |bytes: Option<&[u8]>| {
            let bytes = bytes.and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
            u32::from_be_bytes(bytes)
        };
        let (ours, theirs) = (word(ours), word(theirs));
        match (self.ours.is_ipv6, self.ours.payload[0], self.ours.payload[1]) {
            (true, 2, _) => {
                let known = Some("TAYGA bounds it by its own MTU only");
                found.add(known::ICMP_MTU_6, "MTU", (ours, theirs), known);
            }
            (false, 3, 4) => {
                let known =
                    Some("Jool does not count the Fragment header of the quoted packet (J-6), 8 bytes");
                found.add(known::ICMP_MTU_4, "MTU", (ours & 0xffff, theirs & 0xffff), known);
            }
            (true, 4, _) => found.add(known::ICMP_POINTER_6, "pointer", (ours, theirs), None),
            (false, 12, _) => found.add(known::ICMP_POINTER_4, "pointer", (ours >> 24, theirs >> 24), None),
            _ => {}
        }
    }

    /// The name of a byte of the quoted packet.
    fn quoted_field(&self, at: usize) -> &'static str {
        match (self.ours.is_ipv6, at) {
            (true, 0..4) => "quoted version, class, flow label",
            (true, 4..6) => "quoted Payload Length",
            (true, 6) => "quoted Next Header",
            (true, 7) => "quoted hop limit",
            (true, 8..40) => "quoted addresses",
            (false, 0 | 1) => "quoted version, class",
            (false, 2 | 3) => "quoted Total Length",
            (false, 4 | 5) => "quoted identification",
            (false, 6 | 7) => "quoted DF, fragment offset",
            (false, 8) => "quoted Time to Live",
            (false, 9) => "quoted protocol",
            (false, 10 | 11) => "quoted header checksum",
            (false, 12..20) => "quoted addresses",
            _ => "quoted payload",
        }
    }

    fn transport(&self, found: &mut Differences) {
        let requirement = self.pick(known::TRANSPORT_6, known::TRANSPORT_4);
        let (ours, theirs) = (self.ours.transport_checksum(), self.theirs.transport_checksum());
        let is_header_the_same = found.0.is_empty();
        if ours != theirs && (is_header_the_same || self.ours.payload.len() == self.theirs.payload.len()) {
            let text = |checksum: Option<u16>| {
                checksum.map_or("none".to_owned(), |checksum| format!("{checksum:#06x}"))
            };
            let known = Some("nat46 and protomask compute checksums anew, and so repair what was wrong");
            found.add(requirement, "transport checksum", (text(ours), text(theirs)), known);
        }
        let length = self.pick(known::TRANSPORT_6, known::LENGTH_4);
        found.add(
            length,
            "length of the payload",
            (self.ours.payload.len(), self.theirs.payload.len()),
            None,
        );
        let without = |view: &View<'_>| {
            let mut payload = view.payload.to_vec();
            for at in [2, 3, 6, 7, 16, 17] {
                if let Some(byte) = payload.get_mut(at) {
                    *byte = 0;
                }
            }
            payload
        };
        if self.ours.payload.len() == self.theirs.payload.len()
            && without(&self.ours) != without(&self.theirs)
        {
            found.add(requirement, "payload", ("kept", "changed"), None);
        }
    }
}

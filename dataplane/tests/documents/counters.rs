//! The counters, each where it stands on a packet's walk.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dataplane::counters::Event;
use dataplane::verdict::{DropReason, PuntReason};

use super::{cell, compare, complain, read};

/// The walk, step by step: title, what happens, and the counters of that step.
const WALK: [(&str, &str, &[&str]); 12] = [
    (
        "Receive",
        "A worker takes bursts from its queue of every port.",
        &[
            "received",
            "received_bytes",
            "bursts",
            "joined_frames",
            "segments_too_long",
            "busy_cycles",
            "idle_cycles",
            "sleep_cycles",
        ],
    ),
    (
        "Link layer",
        "`stage/parse.rs`: which VLAN, for whom, IP or not.",
        &[
            "frame_too_short",
            "arp",
            "ether_type",
            "stacked_vlan",
            "starting",
            "unknown_vlan",
            "interface_down",
            "foreign_mac",
        ],
    ),
    (
        "Validation",
        "`stage/parse.rs`: lengths and checksum of the IP header.",
        &[
            "ipv4_header_invalid",
            "ipv4_header_checksum",
            "ipv4_truncated",
            "ipv6_header_invalid",
            "ipv6_truncated",
        ],
    ),
    (
        "Whose packet is it",
        "`stage/classify.rs`: the kernel's, native, or the translator's, by the destination alone.",
        &[
            "local_scope",
            "local_address",
            "routing_protocol",
            "routing_protocol_distant",
            "neighbor_discovery",
            "link_broadcast",
            "illegal_destination",
            "unassigned_service_address",
        ],
    ),
    (
        "Router duties",
        "`walk`: source, options, extension headers, hop limit.",
        &[
            "illegal_source",
            "ipv4_options_invalid",
            "source_route",
            "ipv6_extension_invalid",
            "fragmented_extension",
            "hop_limit_exceeded",
            "routing_header",
        ],
    ),
    (
        "What it carries",
        "`stage/transport.rs`, `stage/quote.rs`: can this be translated at all?",
        &[
            "transport_truncated",
            "tiny_fragment",
            "fragment_invalid",
            "fragmented_icmp",
            "guarded_protocol",
            "icmp_untranslatable",
            "icmp_inner_untranslatable",
            "udp_zero_checksum",
        ],
    ),
    (
        "Addresses",
        "`stage/lookup.rs`: EAM first, prefix second, for every address.",
        &["source_not_mapped", "spoofed_source", "denylisted", "well_known_prefix_non_global"],
    ),
    (
        "Next hop and size",
        "`table/fib.rs`, `walk`: where to, and does it fit?",
        &[
            "no_route",
            "next_hop_unreachable",
            "route_unreachable",
            "route_prohibited",
            "route_blackhole",
            "destination_is_local",
            "kernel_route",
            "native_not_forwarded",
            "unresolved_next_hop",
            "packet_too_big",
            "too_long",
        ],
    ),
    (
        "Translated or forwarded",
        "`stage/translate`, `stage/fragment.rs`: the packet is written.",
        &[
            "translated_v4_to_v6",
            "translated_v6_to_v4",
            "hairpinned",
            "native",
            "translated_icmp_errors",
            "translated_packet_too_big",
            "translated_fragments",
            "fragmented_packets",
            "originated_fragments",
        ],
    ),
    (
        "ICMP errors of the relay",
        "`stage/icmp_error.rs`: what a refusal asked for.",
        &[
            "originated_icmp_errors",
            "icmp_errors_rate_limited",
            "icmp_errors_off",
            "icmp_errors_forbidden",
            "icmp_errors_unsendable",
        ],
    ),
    (
        "Transmit and exception path",
        "`transmit.rs`, `punt.rs`: to the port, or to the kernel and from it.",
        &[
            "sent",
            "sent_bytes",
            "transmit_queue_full",
            "no_buffer",
            "punt_policed",
            "punt_ring_full",
            "originated_kernel",
        ],
    ),
    (
        "Lost behind a punt",
        "`control/src/kernel`: punted packets that the control thread could not bring to their end. Only in the sums: a worker has \
         counted them as punted, and the sums count them as dropped instead.",
        &[
            "neighbor_wait_overflow",
            "neighbor_wait_expired",
            "neighbor_failed",
            "neighbor_table_full",
            "twin_refused",
            "inject_ring_full",
        ],
    ),
];

const INTRODUCTION: &str = "# Counters

`kill -USR1` makes the relay print its counters as one line of JSON on standard error; the same line ends its log. Counters
only grow. Those under `punted`, `dropped` and `events` are sums over the workers and left out while they are 0. Made from
`dataplane/src/verdict.rs` and `dataplane/src/sink/counters.rs` by `cargo test -p dataplane --test documents`, which fails when this
page and the code disagree.

Every packet ends exactly once: it is sent, punted (offered to the kernel through the twin) or dropped, for one reason. So at
all times, for every worker and for their sum:

    received + originated = sent + punted + dropped

where `originated` is what the relay adds: `originated_icmp_errors`, `originated_fragments` and `originated_kernel`.

**Why was my packet not translated?** `borderline translate` says it for each packet of a capture, in the same words.

The packet's walk, from top to bottom; a packet that ends at one step is not seen by those below:

";

/// Name, kind and description of each counter.
fn all() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let events = Event::ALL.iter().map(|event| (event.name(), ("event", event.description())));
    let punts = PuntReason::ALL.iter().map(|reason| (reason.name(), ("punt", reason.description())));
    let drops = DropReason::ALL.iter().map(|reason| (reason.name(), ("drop", reason.description())));
    events.chain(punts).chain(drops).collect()
}

/// The first sentence says what it means, the rest what to look at.
fn parts(description: &str) -> Option<(&str, &str)> {
    let end = description.match_indices(". ").find(|(at, _)| !description[..*at].ends_with(".."))?.0;
    Some((&description[..=end], description[end + 2..].trim()))
}

#[test]
fn every_counter_has_its_place_on_the_walk() {
    let all = all();
    let mut complaints = Vec::new();
    for name in all.keys() {
        let places = WALK.iter().filter(|(_, _, names)| names.contains(name)).count();
        if places != 1 {
            complaints.push(format!(
                "{name} is at {places} places of WALK in dataplane/tests/documents/counters.rs"
            ));
        }
    }
    for name in WALK.iter().flat_map(|(_, _, names)| *names) {
        if !all.contains_key(name) {
            complaints.push(format!("there is no counter {name}"));
        }
    }
    complain(&complaints);
}

#[test]
fn every_description_says_what_to_look_at() {
    let complaint = |(name, (_, description)): (&&str, &(&str, &str))| {
        let advice = parts(description).map_or("", |(_, advice)| advice);
        let good = description.ends_with(['.', '?']) && advice.len() > 8;
        (!good).then(|| {
            format!("{name}: say what it means, and in another sentence what to look at: {description}")
        })
    };
    complain(&all().iter().filter_map(complaint).collect::<Vec<_>>());
}

#[test]
fn the_document_is_up_to_date() {
    compare("docs/counters.md", &document());
}

fn document() -> String {
    let all = all();
    let mut text = INTRODUCTION.to_owned();
    for (title, what, _) in &WALK {
        writeln!(text, "1. [{title}](#{}): {what}", title.to_lowercase().replace(' ', "-")).unwrap();
    }
    for (title, what, names) in &WALK {
        writeln!(text, "\n## {title}\n\n{what}\n").unwrap();
        text.push_str("| Counter | Kind | Meaning | What to look at |\n| --- | --- | --- | --- |\n");
        for name in *names {
            // The tests above complain about what is missing.
            let Some((kind, description)) = all.get(name) else { continue };
            let (meaning, advice) = parts(description).unwrap_or((description, ""));
            writeln!(text, "| `{name}` | {kind} | {} | {} |", cell(meaning), cell(advice)).unwrap();
        }
    }
    text.push_str(CONTROL);
    for (name, meaning) in control_thread() {
        writeln!(text, "| `{name}` | {} |", cell(&meaning)).unwrap();
    }
    text.push_str(RELOADS);
    for (name, meaning) in reloads() {
        writeln!(text, "| `{name}` | {} |", cell(&meaning)).unwrap();
    }
    text
}

const CONTROL: &str = "
## The control thread

Under `kernel`: what happens to punted packets and to frames of the kernel between the workers and the twins. `to_twin` has one
number for each punt reason.

| Counter | Meaning |
| --- | --- |
";

const RELOADS: &str = "
## Reloads

Under `reloads`: how often SIGHUP made the relay read its configuration again.

| Counter | Meaning |
| --- | --- |
";

fn control_thread() -> Vec<(String, String)> {
    fields("control/src/kernel/counters.rs", "pub struct KernelCounters {\n")
}

fn reloads() -> Vec<(String, String)> {
    fields("control/src/actor/message.rs", "pub struct Reloads {\n")
}

/// The fields of a struct with their comments. This crate does not know the others, so their source is read.
fn fields(file: &str, structure: &str) -> Vec<(String, String)> {
    let source = read(file);
    let (_, fields) = source.split_once(structure).expect("the counters");
    let (fields, _) = fields.split_once("\n}\n").expect("their end");
    let mut comment = Vec::new();
    let mut counters = Vec::new();
    for line in fields.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if line.starts_with("pub lost: ") {
            // Settled among the drops.
            comment.clear();
        } else if let Some((name, _)) = field(line) {
            let text = comment.join(" ").replace("[`PuntReason::index`]", "reason");
            counters.push((name.to_owned(), text));
            comment.clear();
        }
    }
    counters
}

fn field(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) "))?.split_once(':')
}

#[test]
fn the_control_threads_counters_are_all_printed() {
    let report = read("src/report.rs");
    let complaint = |(name, meaning): &(String, String)| {
        let printed = report.contains(&format!("\"{name}\"")) && !meaning.is_empty();
        (!printed).then(|| format!("{name} is not printed by src/report.rs, or has no comment"))
    };
    let mut counters = control_thread();
    assert!(counters.len() > 10);
    counters.extend(reloads());
    complain(&counters.iter().filter_map(complaint).collect::<Vec<_>>());
}

#[test]
fn a_description_is_cut_behind_its_first_sentence() {
    assert_eq!(
        parts("Frames (LLDP, ...), dropped. Look: there. Or not."),
        Some(("Frames (LLDP, ...), dropped.", "Look: there. Or not."))
    );
    assert_eq!(parts("RFC 1812 5.2.2. Look."), Some(("RFC 1812 5.2.2.", "Look.")));
    assert_eq!(parts("No advice."), None);
}

//! The conformance sheet: every requirement, whether it is met, and the tests that show it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use dataplane::counters::Event;
use dataplane::verdict::{DropReason, PuntReason};

use super::sources::{Sources, readings};
use super::{cell, compare, complain, csv};

/// Every chapter with its file, its title and every id it must have.
const CHAPTERS: [(&str, &str, &[Ids]); 9] = [
    (
        "a",
        "A. IPv4 to IPv6 (RFC 7915 section 4)",
        &[
            Ids("A1.", 1, 9),
            Ids("A2.", 1, 11),
            Ids("A3.", 1, 5),
            Ids("A4.", 1, 16),
            Ids("A5.", 1, 14),
            Ids("A5.", 20, 32),
            Ids("A6.", 1, 4),
            Ids("A7.", 1, 10),
        ],
    ),
    (
        "b",
        "B. IPv6 to IPv4 (RFC 7915 section 5)",
        &[
            Ids("B1.", 1, 6),
            Ids("B2.", 1, 12),
            Ids("B3.", 1, 9),
            Ids("B4.", 1, 13),
            Ids("B4.", 20, 26),
            Ids("B5.", 1, 7),
        ],
    ),
    ("c", "C. Special considerations, and what RFC 6145 had otherwise", &[Ids("C", 1, 15)]),
    ("d", "D. Explicit address mappings (RFC 7757)", &[Ids("D", 1, 26)]),
    ("e", "E. Addresses (RFC 6052)", &[Ids("E", 1, 15)]),
    (
        "f",
        "F. ICMP sources (RFC 6791, RFC 5837 and their successors)",
        &[Ids("F", 1, 10), Ids("F10a", 0, 0), Ids("F10b", 0, 0), Ids("F", 11, 13)],
    ),
    (
        "g",
        "G. Border Relay (RFC 7755)",
        &[
            Ids("G1.", 1, 6),
            Ids("G", 2, 2),
            Ids("G3.", 1, 4),
            Ids("G4.", 1, 1),
            Ids("G4.3a", 0, 0),
            Ids("G4.3b", 0, 0),
            Ids("G4.3c", 0, 0),
            Ids("G4.4a", 0, 0),
            Ids("G4.4b", 0, 0),
            Ids("G4.", 5, 9),
            Ids("G4.9.1a", 0, 0),
            Ids("G4.9.1b", 0, 0),
            Ids("G4.9.1c", 0, 0),
            Ids("G4.9.1d", 0, 0),
            Ids("G4.9.1e", 0, 0),
            Ids("G4.9.", 2, 3),
            Ids("G4.", 10, 10),
            Ids("G5.1a", 0, 0),
            Ids("G5.1b", 0, 0),
        ],
    ),
    ("h", "H. Edge Relay (RFC 7756)", &[Ids("H", 1, 22)]),
    ("i", "I. Router duties (RFC 1812, 4443, 8200, 4861, 826)", &[Ids("I", 1, 28)]),
];

/// A prefix and the numbers behind it; none for 0.
struct Ids(&'static str, u8, u8);

impl Ids {
    fn list(&self) -> impl Iterator<Item = String> {
        let Self(prefix, first, last) = *self;
        (first..=last)
            .map(move |number| if number == 0 { prefix.to_owned() } else { format!("{prefix}{number}") })
    }
}

const MET: &str = "met";
const STATUSES: [&str; 3] = [MET, "later", "not applicable"];

struct Requirement {
    id: String,
    level: String,
    title: String,
    status: String,
    counters: Vec<String>,
    tests: Vec<String>,
    remark: String,
}

struct Reading {
    topic: String,
    requirements: Vec<String>,
    decision: String,
    why: String,
    tests: Vec<String>,
    model: Vec<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn requirements(chapter: &str) -> Vec<Requirement> {
    let header = ["id", "level", "title", "status", "counters", "tests", "remark"];
    let rows = csv::rows(&format!("dataplane/tests/requirements/{chapter}.csv"), header);
    rows.into_iter()
        .map(|[id, level, title, status, counters, tests, remark]| Requirement {
            id,
            level,
            title,
            status,
            counters: words(&counters),
            tests: words(&tests),
            remark,
        })
        .collect()
}

fn decisions() -> Vec<Reading> {
    let header = ["topic", "requirements", "decision", "why", "tests", "model"];
    let rows = csv::rows("dataplane/tests/requirements/readings.csv", header);
    rows.into_iter()
        .map(|[topic, requirements, decision, why, tests, model]| Reading {
            topic,
            requirements: words(&requirements),
            decision,
            why,
            tests: words(&tests),
            model: words(&model),
        })
        .collect()
}

/// The names of all counters.
fn counters() -> BTreeSet<&'static str> {
    let events = Event::ALL.iter().map(|event| event.name());
    let punts = PuntReason::ALL.iter().map(|reason| reason.name());
    let drops = DropReason::ALL.iter().map(|reason| reason.name());
    events.chain(punts).chain(drops).collect()
}

#[test]
fn no_requirement_is_missing_and_none_is_invented() {
    for (chapter, _, ids) in &CHAPTERS {
        let expected: Vec<String> = ids.iter().flat_map(Ids::list).collect();
        let listed: Vec<String> =
            requirements(chapter).into_iter().map(|requirement| requirement.id).collect();
        assert_eq!(listed, expected, "chapter {chapter}");
    }
}

#[test]
fn every_row_is_complete() {
    let mut complaints = Vec::new();
    for requirement in CHAPTERS.iter().flat_map(|(chapter, _, _)| requirements(chapter)) {
        let Requirement { id, status, tests, remark, .. } = &requirement;
        let mut refuse = |why: &str| complaints.push(format!("{id}: {why}"));
        if requirement.level.is_empty() || requirement.title.is_empty() {
            refuse("no level or no title");
        }
        if !STATUSES.contains(&status.as_str()) {
            refuse("a status nobody knows");
        }
        if status == MET && tests.is_empty() && remark.is_empty() {
            refuse("met, but neither a test nor a reason for having none");
        }
        if status != MET && remark.is_empty() {
            refuse("not met, without a reason");
        }
        if status != MET && !tests.is_empty() {
            refuse("not met, but tested");
        }
    }
    complain(&complaints);
}

#[test]
fn every_test_and_every_counter_exists() {
    let (sources, counters) = (Sources::read(), counters());
    let mut complaints = Vec::new();
    for requirement in CHAPTERS.iter().flat_map(|(chapter, _, _)| requirements(chapter)) {
        let id = &requirement.id;
        let tests = requirement.tests.iter().filter_map(|test| sources.complaint(test));
        complaints.extend(tests.map(|why| format!("{id}: {why}")));
        let unknown = requirement.counters.iter().filter(|counter| !counters.contains(counter.as_str()));
        complaints.extend(unknown.map(|counter| format!("{id}: there is no counter {counter}")));
    }
    complain(&complaints);
}

#[test]
fn every_golden_packet_stands_for_a_requirement() {
    let named: BTreeSet<String> = CHAPTERS
        .iter()
        .flat_map(|(chapter, _, _)| requirements(chapter))
        .flat_map(|requirement| requirement.tests)
        .chain(decisions().into_iter().flat_map(|reading| reading.tests))
        .collect();
    let vectors = Sources::read().vectors;
    let unnamed = vectors.iter().filter(|(name, applies)| **applies && !named.contains(&format!("V:{name}")));
    complain(&unnamed.map(|(name, _)| format!("{name} is in no row")).collect::<Vec<_>>());
}

#[test]
fn every_second_reading_of_the_model_is_decided() {
    let known: BTreeSet<String> =
        CHAPTERS.iter().flat_map(|(_, _, ids)| ids.iter().flat_map(Ids::list)).collect();
    let (sources, open) = (Sources::read(), readings());
    let mut complaints = Vec::new();
    let mut decided = BTreeSet::new();
    for Reading { topic, requirements, decision, why, tests, model } in decisions() {
        let mut refuse = |why: String| complaints.push(format!("{topic}: {why}"));
        if decision.is_empty() || why.is_empty() || requirements.is_empty() {
            refuse("without decision, reason or requirement".to_owned());
        }
        requirements
            .iter()
            .filter(|id| !known.contains(*id))
            .for_each(|id| refuse(format!("there is no {id}")));
        tests.iter().filter_map(|test| sources.complaint(test)).for_each(&mut refuse);
        model
            .iter()
            .filter(|name| !open.contains(*name))
            .for_each(|name| refuse(format!("model.py has no {name}")));
        decided.extend(model);
    }
    complaints.extend(open.difference(&decided).map(|name| format!("{name} of model.py is not decided")));
    complain(&complaints);
}

#[test]
fn the_document_is_up_to_date() {
    compare("docs/conformance.md", &document());
}

const INTRODUCTION: &str = "# Conformance

What the RFCs ask of a SIIT-DC relay, whether this one does it, and which tests show it. Made from
`dataplane/tests/requirements/*.csv` by `cargo test -p dataplane --test documents`, which fails when a row names a test or a
counter that does not exist, or claims something without a test or a reason.

- **Level** is the RFC's word; DER follows from several texts together, OPT is a setting the RFC implies, POL is our own policy.
- **Counted by**: see [counters.md](counters.md).
- **Tests**: `V:` is a golden packet of `pktgen-tests/vectors`. All of them run in `dataplane::conformance::golden_packets`
  against the walk, in `borderline::translate::golden::golden_packets_pass_the_program` against the program, and in
  `pktgen-tests::wire_vectors::golden_packets_on_the_wire` against the running relay. `compare.py:` is a configuration of the
  comparison with the reference model. Everything else is a test function: package, file and name.

";

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str(
        "| Chapter | Requirements | Met | Later | Not applicable |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    let chapters: Vec<(&str, Vec<Requirement>)> =
        CHAPTERS.iter().map(|(chapter, title, _)| (*title, requirements(chapter))).collect();
    for (title, requirements) in &chapters {
        let count =
            |status: &&str| requirements.iter().filter(|row| row.status == **status).count().to_string();
        let counts: Vec<String> = STATUSES.iter().map(count).collect();
        writeln!(text, "| {title} | {} | {} |", requirements.len(), counts.join(" | ")).unwrap();
    }
    text.push_str(&later(&chapters));
    text.push_str(&deliberate());
    for (title, requirements) in &chapters {
        writeln!(text, "\n## {title}\n").unwrap();
        text.push_str("| Id | Level | Requirement | Status | Counted by | Tests |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for row in requirements {
            let remark = if row.remark.is_empty() { String::new() } else { format!(". {}", row.remark) };
            writeln!(
                text,
                "| {} | {} | {} | {}{} | {} | {} |",
                row.id,
                row.level,
                cell(&row.title),
                row.status,
                cell(&remark),
                code(&row.counters),
                code(&row.tests)
            )
            .unwrap();
        }
    }
    text
}

fn code(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What a MUST or SHOULD still lacks, where everybody sees it.
fn later(chapters: &[(&str, Vec<Requirement>)]) -> String {
    let mut text = "\n## What is not there yet\n\n".to_owned();
    let rows = chapters.iter().flat_map(|(_, rows)| rows).filter(|row| row.status == "later");
    for row in rows {
        writeln!(text, "- **{}** ({}) {}: {}", row.id, row.level, row.title, row.remark).unwrap();
    }
    text
}

fn deliberate() -> String {
    let mut text = "\n## Deliberate readings and deviations

Where the texts leave a choice, contradict each other, or ask for something that harms. The last column names the question in
`READINGS` of `pktgen-tests/reference/model.py`.

| What | Requirements | What the relay does | Why | Tests | Model |
| --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    for row in decisions() {
        let requirements = row.requirements.join(", ");
        let columns = [row.topic, requirements, row.decision, row.why, code(&row.tests), code(&row.model)];
        writeln!(text, "| {} |", columns.map(|column| cell(&column)).join(" | ")).unwrap();
    }
    text
}

#[test]
fn ids_are_listed_as_they_are_written() {
    let list = |ids: Ids| ids.list().collect::<Vec<_>>();
    assert_eq!(list(Ids("A1.", 9, 11)), ["A1.9", "A1.10", "A1.11"]);
    assert_eq!(list(Ids("G4.3a", 0, 0)), ["G4.3a"]);
    let total: BTreeMap<&str, usize> =
        CHAPTERS.iter().map(|(name, _, ids)| (*name, ids.iter().flat_map(Ids::list).count())).collect();
    assert_eq!(total.values().sum::<usize>(), 289, "{total:?}");
}

//! What a comparison found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use shown::Shown;

use super::known::Requirement;
use super::pairing::Seen;
use super::view::View;

/// How many findings of one kind are shown to people; programs get all.
const SHOWN: usize = 5;

/// One difference, at one packet.
#[derive(Debug)]
pub(super) struct Finding {
    /// File and index of what went in.
    input: (usize, usize),
    /// File and index of what came out.
    output: Option<(usize, usize)>,
    flow: String,
    what: String,
}

impl Finding {
    pub(super) fn new(input: &Seen, output: Option<&Seen>, what: String) -> Self {
        let output = output.map(|output| (output.file, output.index));
        Self { input: (input.file, input.index), output, flow: flow(input), what }
    }
}

/// Whose packet, in words.
fn flow(packet: &Seen) -> String {
    View::new(&packet.bytes).map_or_else(
        || "no IP packet".to_owned(),
        |view| {
            let protocol = match (view.protocol, view.is_ipv6) {
                (1, true) => "ICMPv6".to_owned(),
                (1, false) => "ICMP".to_owned(),
                (6, _) => "TCP".to_owned(),
                (17, _) => "UDP".to_owned(),
                (protocol, _) => format!("protocol {protocol}"),
            };
            format!("{protocol} {} > {}, {} bytes", view.source, view.destination, packet.bytes.len())
        },
    )
}

#[derive(Debug, Default)]
struct Group {
    findings: Vec<Finding>,
}

/// Everything found.
#[derive(Debug)]
pub(super) struct Report {
    files: [String; 2],
    packets: usize,
    unread: usize,
    others: usize,
    pub(super) equal: usize,
    pub(super) both_silent: usize,
    different: usize,
    missing: usize,
    /// The last input that was counted as different: it may differ in several fields.
    last: Option<(usize, usize)>,
    groups: BTreeMap<(Requirement, Option<&'static str>), Group>,
    extra: Vec<Finding>,
}

impl Report {
    pub(super) fn new(files: [String; 2], packets: usize, unread: usize, others: usize) -> Self {
        Self {
            files,
            packets,
            unread,
            others,
            equal: 0,
            both_silent: 0,
            different: 0,
            missing: 0,
            last: None,
            groups: BTreeMap::new(),
            extra: Vec::new(),
        }
    }

    pub(super) fn different(
        &mut self,
        requirement: Requirement,
        known: Option<&'static str>,
        finding: Finding,
    ) {
        if self.last.replace(finding.input) != Some(finding.input) {
            self.different += 1;
        }
        self.groups.entry((requirement, known)).or_default().findings.push(finding);
    }

    pub(super) fn missing(
        &mut self,
        requirement: Requirement,
        known: Option<&'static str>,
        finding: Finding,
    ) {
        self.missing += 1;
        self.groups.entry((requirement, known)).or_default().findings.push(finding);
    }

    pub(super) fn extra(&mut self, packet: &Seen) {
        let what = "they sent it; nothing in the captures explains it".to_owned();
        self.extra.push(Finding::new(packet, None, what));
    }

    /// One object with everything.
    pub(super) fn json(&self) -> Value {
        let place = |(file, index): (usize, usize)| json!({ "file": self.files[file], "packet": index });
        let finding = |finding: &Finding| {
            json!({
                "input": place(finding.input),
                "output": finding.output.map(place),
                "flow": finding.flow,
                "what": finding.what,
            })
        };
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|((Requirement(id, text), known), group)| {
                let packets: Vec<Value> = group.findings.iter().map(finding).collect();
                json!({ "requirement": id, "text": text, "known": known, "packets": packets })
            })
            .collect();
        json!({
            "counts": {
                "packets": self.packets,
                "equal": self.equal,
                "both_silent": self.both_silent,
                "different": self.different,
                "missing": self.missing,
                "extra": self.extra.len(),
                "not_translated": self.others,
                "unread": self.unread,
            },
            "differences": groups,
            "extra": self.extra.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    fn write_findings(&self, f: &mut fmt::Formatter<'_>, findings: &[Finding]) -> fmt::Result {
        for finding in findings.iter().take(SHOWN) {
            let (file, index) = finding.input;
            write!(f, "    {} packet {index}", Shown(&self.files[file]))?;
            if let Some((file, index)) = finding.output {
                write!(f, " -> {} packet {index}", Shown(&self.files[file]))?;
            }
            writeln!(f, " ({}): {}", finding.flow, finding.what)?;
        }
        match findings.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "    and {more} more"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} packets: {} equal, {} both silent, {} different, {} missing, {} extra; {} are not the translator's, {} unread",
            self.packets,
            self.equal,
            self.both_silent,
            self.different,
            self.missing,
            self.extra.len(),
            self.others,
            self.unread,
        )?;
        for ((Requirement(id, text), known), group) in &self.groups {
            writeln!(f, "\n{id}, {text}: {} times", group.findings.len())?;
            match known {
                Some(known) => writeln!(f, "  known: {known}")?,
                None => writeln!(f, "  not known of any translator")?,
            }
            self.write_findings(f, &group.findings)?;
        }
        if !self.extra.is_empty() {
            writeln!(f, "\nextra: {} packets", self.extra.len())?;
            self.write_findings(f, &self.extra)?;
        }
        Ok(())
    }
}

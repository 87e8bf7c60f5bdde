//! The kits of `config/bird` and `config/frr`, used as they are. Only the second relay's file is made from the first's, by
//! the replacements that the head of the file lists for whoever copies it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::LabError;

/// Which routing daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// BIRD 2.
    Bird,
    /// FRR.
    Frr,
}

/// Which of the relays' kits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kit {
    /// `relay.conf`: BGP towards the IPv4 Internet, OSPFv3 towards the data centre, as in the figure.
    Figure,
    /// `relay-bgp.conf`: BGP on both sides.
    Bgp,
    /// `relay-ospf.conf`: OSPFv2 and OSPFv3.
    Ospf,
}

/// A daemon and a kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// On every router and relay.
    pub routing: Routing,
    /// On the relays.
    pub kit: Kit,
}

impl Suite {
    /// As in the figure.
    #[must_use]
    pub const fn figure(routing: Routing) -> Self {
        Self { routing, kit: Kit::Figure }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.routing, self.kit) {
            (Routing::Bird, Kit::Figure) => "BIRD",
            (Routing::Bird, Kit::Bgp) => "BIRD, BGP only",
            (Routing::Bird, Kit::Ospf) => "BIRD, OSPF only",
            (Routing::Frr, Kit::Figure) => "FRR",
            (Routing::Frr, Kit::Bgp) => "FRR, BGP only",
            (Routing::Frr, Kit::Ospf) => "FRR, OSPF only",
        }
    }

    /// How much later than BFD a route over a dead neighbour may go, in milliseconds, at inet4 and at dc: BIRD's OSPF looks
    /// at its database once a second (`tick`), and everything else acts at once.
    #[must_use]
    pub(super) const fn slack_ms(self) -> [u64; 2] {
        match (self.routing, self.kit) {
            (Routing::Bird, Kit::Figure) => [0, 1500],
            (Routing::Bird, Kit::Ospf) => [1500, 1500],
            _ => [0, 0],
        }
    }

    /// The configuration of a node's daemon.
    pub(super) fn text(self, node: &str) -> Result<String, LabError> {
        let relay = match self.kit {
            Kit::Figure => "relay",
            Kit::Bgp => "relay-bgp",
            Kit::Ospf => "relay-ospf",
        };
        match node {
            "br1" => self.file(relay),
            "br2" => Ok(of_second_relay(&self.file(relay)?)),
            "dc" => self.file("datacentre"),
            "inet4" => self.file("internet4"),
            _ => self.file("internet6"),
        }
    }

    fn file(self, name: &str) -> Result<String, LabError> {
        let folder = match self.routing {
            Routing::Bird => "bird",
            Routing::Frr => "frr",
        };
        let path = config().join(folder).join(format!("{name}.conf"));
        fs::read_to_string(&path).map_err(LabError::io(path.display().to_string()))
    }
}

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

/// Applies the lines `second relay: OLD -> NEW` of a file to all of it but its comments.
fn of_second_relay(text: &str) -> String {
    let changes: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once("second relay: "))
        .filter_map(|(_, change)| change.split_once(" -> "))
        .collect();
    let lines = text.lines().map(|line| {
        if line.starts_with(['#', '!']) { line.to_owned() } else { replace_words(line, &changes) }
    });
    lines.fold(String::new(), |all, line| all + &line + "\n")
}

/// Replaces whole addresses only: 10.0.0.1 is no part of 10.0.0.12 or of 110.0.0.1.
fn replace_words(line: &str, changes: &[(&str, &str)]) -> String {
    let mut result = String::new();
    let in_address = |letter: char| letter.is_ascii_hexdigit() || letter == '.' || letter == ':';
    let mut rest = line;
    while let Some(start) = rest.find(in_address) {
        result += &rest[..start];
        rest = &rest[start..];
        let end = rest.find(|letter| !in_address(letter)).unwrap_or(rest.len());
        let word = &rest[..end];
        result += changes.iter().find(|(old, _)| *old == word).map_or(word, |(_, new)| *new);
        rest = &rest[end..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_addresses_are_replaced_outside_of_comments() {
        let text = "# second relay: 10.0.0.1 -> 10.0.0.2\nid 10.0.0.1; not 10.0.0.12\n! 10.0.0.1\n";
        let expected = "# second relay: 10.0.0.1 -> 10.0.0.2\nid 10.0.0.2; not 10.0.0.12\n! 10.0.0.1\n";
        assert_eq!(of_second_relay(text), expected);
    }

    #[test]
    fn every_kit_says_what_differs_on_the_second_relay() {
        for routing in [Routing::Bird, Routing::Frr] {
            for kit in [Kit::Figure, Kit::Bgp, Kit::Ospf] {
                let suite = Suite { routing, kit };
                let [first, second] = ["br1", "br2"].map(|node| suite.text(node).unwrap());
                let differing = first.lines().zip(second.lines()).filter(|(a, b)| a != b).count();
                assert!(first.contains("10.0.0.1") && differing > 0, "{suite:?}");
                for old in ["10.0.0.1", "198.51.100.1", "198.51.100.2", "2001:db8:0:1::1", "2001:db8:0:1::2"]
                {
                    let kept = second
                        .lines()
                        .filter(|line| !line.starts_with(['#', '!']))
                        .any(|line| line.split([' ', ';']).any(|word| word == old));
                    assert!(!kept, "{suite:?} keeps {old}");
                }
            }
        }
    }
}

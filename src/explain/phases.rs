//! The walk's steps as phases: each with its answer, the entry that decides, those it hides, and where they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control_api::{Phase, Used};
use dataplane::explain::{Ending, Explained, Sent, To};
use dataplane::stage::classify::Class;
use dataplane::stage::parse::Link;
use dataplane::stage::{Pass, Refusal};
use dataplane::table::eam::Eam;
use dataplane::table::fib::{LinkHeader, Path};
use dataplane::table::routing::InterfaceId;
use dataplane::table::snapshot::Snapshot;
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::walk::{Step, Which};

use super::places::Places;
use super::{input, words};

/// Where prefixes, pools and lists are written.
const CONFIGURED: &str = "the configuration, [translation]";

/// Tells the phases of one packet.
pub(super) struct Teller<'t> {
    pub(super) snapshot: &'t Snapshot,
    pub(super) ports: &'t [String],
    pub(super) places: &'t dyn Places,
    pub(super) phases: Vec<Phase>,
    /// Of the packet as it came.
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    /// The interface it came by, where its destination is looked up in another table than the main one.
    pub(super) apart: Option<InterfaceId>,
    /// Paths that were told.
    pub(super) paths: Vec<(IpAddr, Path)>,
}

impl Teller<'_> {
    /// Every phase behind the input.
    pub(super) fn tell(mut self, explained: &Explained) -> Vec<Phase> {
        self.link(explained);
        for step in &explained.steps {
            self.step(step);
        }
        if !explained.sent.is_empty() && matches!(explained.ending, Ending::Forwarded(_)) {
            self.size(explained);
        }
        for sent in &explained.sent {
            self.output(sent);
        }
        self.phases
    }

    fn add(&mut self, name: &str, result: impl Into<String>, text: impl Into<String>) -> &mut Phase {
        self.phases.push(Phase {
            name: name.to_owned(),
            result: result.into(),
            text: text.into(),
            used: None,
            shadowed: Vec::new(),
            section: None,
            mtu: None,
        });
        self.phases.last_mut().expect("it was just added")
    }

    fn link(&mut self, explained: &Explained) {
        match explained.link {
            Link::Ip { ingress, .. } => {
                let interface = self.interface(ingress.interface);
                let how = if ingress.group { ", as a broadcast or multicast of the link" } else { "" };
                let lane =
                    if explained.is_plain { "plain: by the express lane" } else { "not plain: by the walk" };
                let text = format!("an IP packet on {interface}{how}; {lane}");
                self.add("link", "ip", text).mtu = Some(ingress.mtu);
            }
            Link::Punt(reason) => self.punted("link", reason),
            Link::Drop(reason) => self.refusal(&Refusal::silent(reason)),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Class(class) => self.class(class),
            Step::LeftToRouting => {
                let text = "neither end is mapped and in use here: it is left to routing";
                self.add("class", "native", text).section = Some("RFC 7757 4".to_owned());
            }
            Step::Carries(carried) => {
                let (word, text, section) = words::carried(*carried);
                self.add("payload", word, text).section = Some(section.to_owned());
            }
            Step::Mapped { which, from, to, pass } => self.mapped(*which, *from, *to, *pass),
            Step::Path { destination, path, .. } => self.path(*destination, path),
            Step::Cut(limit) => {
                let text = format!("it is too large and may be cut: into packets of {limit} bytes at most");
                let phase = self.add("size", "cut", text);
                (phase.mtu, phase.section) = (Some(*limit), Some("RFC 7915 4".to_owned()));
            }
            Step::Turned(to) => {
                let text = format!("both ends have mappings: it turns round here, to {to}");
                self.add("turn", to.to_string(), text).section = Some("RFC 7757 4.2.2".to_owned());
            }
            Step::Pieces(count) => {
                self.add("fragments", count.to_string(), format!("it is cut into {count} packets"));
            }
            Step::Refused(refusal) => self.refusal(refusal),
            Step::Answer(told) => {
                let (word, text, section) = words::told(*told);
                self.add("answer", word, text).section = section.map(str::to_owned);
            }
        }
    }

    fn class(&mut self, class: &Class<IpAddr>) {
        match class {
            Class::Translate(to) => {
                let to = *to;
                let Some(from) = self.destination else { return };
                let section = if from.is_ipv4() { "RFC 7757 3.3.1" } else { "RFC 7757 3.3.2" };
                self.add("class", "translate", format!("{from} is translated, to {to}"));
                self.attributed("destination", from, to, section);
            }
            Class::Native => {
                let text = self.destination.map_or_else(String::new, |to| {
                    format!("{to} is under no mapping, in no translation prefix and in no pool: forwarded as it is")
                });
                self.add("class", "native", text);
            }
            Class::Punt(reason) => self.punted("class", *reason),
        }
    }

    fn punted(&mut self, name: &str, reason: PuntReason) {
        let (word, description) = words::punted(reason);
        self.add(name, "punt", format!("the kernel's, as {word}: {description}")).section =
            words::section(description);
    }

    fn mapped(&mut self, which: Which, from: IpAddr, to: IpAddr, pass: Pass) {
        let (name, section) = match (which, from.is_ipv4()) {
            (Which::Source, true) => ("source", "RFC 7757 3.3.1"),
            (Which::Source, false) => ("source", "RFC 7757 3.3.2"),
            (Which::QuotedSource, _) => ("quoted_source", "RFC 7915 4.3, 5.3"),
            (Which::QuotedDestination, _) => ("quoted_destination", "RFC 7915 4.3, 5.3"),
        };
        let name = if pass == Pass::Hairpin { format!("second_pass_{name}") } else { name.to_owned() };
        self.attributed(&name, from, to, section);
    }

    /// An address and its other form, with whatever made it so.
    fn attributed(&mut self, name: &str, from: IpAddr, to: IpAddr, section: &str) {
        let covering = match from {
            IpAddr::V4(from) => self.snapshot.translation.eams.covering_ipv4(from),
            IpAddr::V6(from) => self.snapshot.translation.eams.covering_ipv6(from),
        };
        let by_eam = covering.first().is_some_and(|eam| is_by(eam, from, to));
        let eams: Vec<Used> = covering.iter().map(|eam| self.eam(eam)).collect();
        let prefix = self.prefix(from, to);
        let is_by_prefix = prefix.is_some();
        let (text, used, shadowed, section) = if by_eam {
            let mut eams = eams.into_iter();
            let used = eams.next();
            let shadowed = eams.chain(self.prefix_around(from)).collect();
            (format!("{from} becomes {to} by its mapping"), used, shadowed, section.to_owned())
        } else if is_by_prefix {
            // Mappings do not count where the simple hairpin or the second pass leaves them out.
            let text = format!("{from} becomes {to} by the translation prefix");
            (text, prefix, eams, "RFC 6052 2.2".to_owned())
        } else {
            let text = format!("{from} has no other form; {to} speaks for it");
            (text, None, eams, "RFC 6791".to_owned())
        };
        let phase = self.add(name, to.to_string(), text);
        (phase.used, phase.shadowed, phase.section) = (used, shadowed, Some(section));
    }

    fn eam(&self, eam: &Eam) -> Used {
        Used { entry: format!("{} = {}", eam.ipv4, eam.ipv6), origin: self.places.eam(eam) }
    }

    /// The prefix that makes one of these addresses the other.
    fn prefix(&self, from: IpAddr, to: IpAddr) -> Option<Used> {
        let (ipv4, ipv6) = match (from, to) {
            (IpAddr::V4(ipv4), IpAddr::V6(ipv6)) | (IpAddr::V6(ipv6), IpAddr::V4(ipv4)) => (ipv4, ipv6),
            _ => return None,
        };
        let (prefix, _) = self.snapshot.translation.prefix_of(ipv6)?;
        (prefix.extract(ipv6) == ipv4)
            .then(|| Used { entry: prefix.network().to_string(), origin: format!("{CONFIGURED} prefixes") })
    }

    /// The translation prefix an IPv6 address lies in, which would have a say without its mapping.
    fn prefix_around(&self, from: IpAddr) -> Option<Used> {
        let IpAddr::V6(from) = from else { return None };
        let (prefix, _) = self.snapshot.translation.prefix_of(from)?;
        Some(Used { entry: prefix.network().to_string(), origin: format!("{CONFIGURED} prefixes") })
    }

    fn path(&mut self, destination: IpAddr, path: &Path) {
        if self.paths.contains(&(destination, *path)) {
            return;
        }
        self.paths.push((destination, *path));
        let (word, text) = match path {
            Path::Adjacent(adjacency) => {
                let mac = mac(&adjacency.link_header(6));
                (
                    mac.clone(),
                    format!("{destination} leaves by {}, to {mac}", self.interface(adjacency.interface)),
                )
            }
            Path::Unresolved { interface, gateway, .. } => {
                let next = gateway.unwrap_or(destination);
                let by = self.interface(*interface);
                let text = format!("{destination} leaves by {by}; {next} has no link-layer address yet");
                ("unresolved".to_owned(), text)
            }
            Path::Failed => {
                ("failed".to_owned(), format!("the next hop to {destination} does not answer ARP or ND"))
            }
            Path::Local => ("local".to_owned(), format!("{destination} is the box itself")),
            Path::Kernel => {
                ("kernel".to_owned(), format!("{destination} leaves by an interface that is not the relay's"))
            }
            Path::Unreachable => {
                ("unreachable".to_owned(), format!("the route to {destination} says unreachable"))
            }
            Path::Prohibited => ("prohibit".to_owned(), format!("the route to {destination} says prohibit")),
            Path::Blackhole => ("blackhole".to_owned(), format!("the route to {destination} says blackhole")),
            Path::NoRoute => ("no_route".to_owned(), format!("there is no route to {destination}")),
        };
        // The kernel is asked about its main table; of what another one says it would name the wrong route.
        let (used, text) = match self.apart {
            None => (self.places.route(destination), text),
            Some(ingress) => {
                let by = self.interface(ingress);
                (
                    None,
                    format!(
                        "{text}, by the table of the VRF of {by}, or of the rule for it, or by the main one"
                    ),
                )
            }
        };
        let phase = self.add("next_hop", word, text);
        (phase.used, phase.mtu) = (used, path.mtu());
    }

    fn refusal(&mut self, refusal: &Refusal) {
        let (word, description) = words::dropped(refusal.reason);
        let answer = refusal.answer.map(|answer| {
            let error = words::icmp_error(self.source, answer.kind, answer.code, answer.rest);
            format!(" Due: {error}.")
        });
        let used = match (refusal.reason, self.destination) {
            (DropReason::UnassignedServiceAddress, Some(address)) => self
                .places
                .service_pool(address)
                .map(|pool| Used { entry: pool.to_string(), origin: format!("{CONFIGURED} service_pools") }),
            _ => None,
        };
        let phase = self.add("refusal", word, format!("{description}{}", answer.unwrap_or_default()));
        (phase.section, phase.used) = (words::section(description), used);
    }

    /// What leaves, held against what its next hop takes.
    fn size(&mut self, explained: &Explained) {
        let sizes: Vec<String> = explained.sent.iter().map(|sent| sent.packet().len().to_string()).collect();
        let mtu = explained.sent.iter().find_map(|sent| match &sent.to {
            To::Ready(adjacency) => Some(adjacency.mtu),
            To::Box(_) => None,
            To::Waits(_) => self.paths.iter().rev().find_map(|(_, path)| path.mtu()),
        });
        let takes = mtu.map_or_else(String::new, |mtu| format!("; the next hop takes {mtu}"));
        self.add("size", "fits", format!("{} bytes leave{takes}", sizes.join(" + "))).mtu = mtu;
    }

    fn output(&mut self, sent: &Sent) {
        match &sent.to {
            To::Ready(adjacency) => {
                let port = input::name(adjacency.port, self.ports);
                let interface = self.interface(adjacency.interface);
                let mac = mac(&adjacency.link_header(sent.packet()[0] >> 4));
                self.add("output", port, format!("by {interface} to {mac}")).mtu = Some(adjacency.mtu);
            }
            To::Box(reason) => {
                let text = format!("to the box itself, as {}", reason.name());
                self.add("output", "box", text);
            }
            To::Waits(wanted) => {
                let interface = self.interface(wanted.interface);
                let next = wanted.next_hop;
                let text = format!(
                    "it waits until the kernel knows the link-layer address of {next} on {interface}"
                );
                self.add("output", "waits", text);
            }
        }
    }

    fn interface(&self, id: InterfaceId) -> String {
        interface_name(id, self.snapshot, self.ports)
    }
}

/// An interface as `ip` calls it.
pub(crate) fn interface_name(id: InterfaceId, snapshot: &Snapshot, ports: &[String]) -> String {
    let Some(interface) = snapshot.fib.interface(id) else { return id.0.to_string() };
    let twin = format!("{}{}", control::kernel::PREFIX, input::name(interface.port, ports));
    match interface.vlan {
        None => twin,
        Some(vlan) => format!("{twin}.{vlan}"),
    }
}

/// Whom a link-layer header is for.
pub(crate) fn mac(header: &LinkHeader<'_>) -> String {
    let bytes: &[u8] = match header {
        LinkHeader::None => return "-".to_owned(),
        LinkHeader::Untagged(header) => &header[..6],
        LinkHeader::Tagged(header) => &header[..6],
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Whether a mapping makes one of these addresses the other (RFC 7757 3.3).
fn is_by(eam: &Eam, from: IpAddr, to: IpAddr) -> bool {
    let (ipv4, ipv6) = match (from, to) {
        (IpAddr::V4(ipv4), IpAddr::V6(ipv6)) | (IpAddr::V6(ipv6), IpAddr::V4(ipv4)) => (ipv4, ipv6),
        _ => return false,
    };
    eam.ipv4.contains(&ipv4) && eam.ipv6.contains(&ipv6) && suffix(eam, ipv4) == suffix_v6(eam, ipv6)
}

/// The bits behind the IPv4 prefix, left-aligned.
fn suffix(eam: &Eam, address: Ipv4Addr) -> u128 {
    (u128::from(address.to_bits()) << 96).checked_shl(eam.ipv4.prefix_len().into()).unwrap_or(0)
}

/// As many bits behind the IPv6 prefix.
fn suffix_v6(eam: &Eam, address: Ipv6Addr) -> u128 {
    let bits = address.to_bits().checked_shl(eam.ipv6.prefix_len().into()).unwrap_or(0);
    let count = u32::from(32 - eam.ipv4.prefix_len());
    if count == 0 { 0 } else { bits >> (128 - count) << (128 - count) }
}

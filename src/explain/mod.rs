//! `explain`: one packet through the data path's own code, on the tables that the workers use now, with a listener.
//!
//! The walk is `dataplane::explain`'s, and a property there holds it against a worker. Here is what surrounds it: `packet.rs`
//! makes the packet a question describes, `input.rs` its frame, `phases.rs` tells what the walk asked and by which entries,
//! `places.rs` where these are written, `fields.rs` what the packets have in them. It runs on a thread of the control socket: no
//! worker and no part of the control thread has anything to do with it but for one copy of two pointers.

mod fields;
mod input;
mod packet;
mod phases;
mod places;
mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control_api::{Explanation, Growth, Leaving, Phase, Question, Refusal};
use dataplane::counters::{Counts, Event};
use dataplane::explain::{self, Ending, Explained, Sent, To};
use dataplane::offline::Outcome;
use dataplane::stage::parse::Link;
use dataplane::table::routing::TableId;
use dataplane::table::snapshot::Snapshot;
use dataplane::verdict::{DropReason, PuntReason};
use dataplane::walk::{LcoreState, Way};

use self::packet::hex;
use self::phases::Teller;
use crate::translate::names;

pub(crate) use self::phases::{interface_name, mac};
pub(crate) use self::places::{Places, Running};

/// What the data path would do with the packet of `question`. `ports` are the names of the ports, in their order.
pub(crate) fn explain(
    question: &Question,
    snapshot: &Snapshot,
    ports: &[String],
    places: &dyn Places,
    local_mtu: Option<u16>,
) -> Result<Explanation, Refusal> {
    let input = input::of(question, &snapshot.fib, ports)?;
    let explained = explain::frame(snapshot, input.port, &input.frame, &mut LcoreState::new(None), local_mtu);
    let offset = match explained.link {
        Link::Ip { offset, .. } => offset,
        _ => link_header(&input.frame),
    };
    let packet = &input.frame[offset..];
    let (source, destination) = addresses(packet).unzip();
    let mut phases = vec![Phase {
        name: "input".to_owned(),
        result: input::name(input.port, ports),
        text: input.text,
        used: None,
        shadowed: Vec::new(),
        section: None,
        mtu: None,
    }];
    let apart = match explained.link {
        Link::Ip { ingress, .. } => Some(ingress.interface),
        _ => None,
    }
    .filter(|ingress| snapshot.fib.table_of(*ingress) != TableId::MAIN);
    let teller =
        Teller { snapshot, ports, places, phases: Vec::new(), source, destination, apart, paths: Vec::new() };
    phases.append(&mut teller.tell(&explained));
    let (verdict, reason) = names(outcome(explained.ending));
    Ok(Explanation {
        verdict: verdict.to_owned(),
        reason: reason.map(str::to_owned),
        advice: advice(explained.ending).map(str::to_owned),
        phases,
        r#in: hex(packet),
        out: explained.sent.iter().map(|sent| hex(sent.packet())).collect(),
        frame: hex(&input.frame),
        port: input::name(input.port, ports),
        before: fields::of(packet),
        after: explained.sent.iter().map(|sent| leaving(sent, snapshot, ports)).collect(),
        counters: growing(&explained),
        express: explained.is_plain,
        generation: snapshot.generation,
        sample: None,
    })
}

fn outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Forwarded(Way::Translated) => Outcome::Translated,
        Ending::Forwarded(Way::Hairpinned) => Outcome::Hairpinned,
        Ending::Forwarded(Way::Native) => Outcome::Native,
        Ending::Answered(reason) => Outcome::IcmpError(reason),
        Ending::Dropped(reason) => Outcome::Dropped(reason),
        Ending::Punted(reason) => Outcome::Punted(reason.name()),
    }
}

const fn advice(ending: Ending) -> Option<&'static str> {
    match ending {
        Ending::Forwarded(_) => None,
        Ending::Answered(reason) | Ending::Dropped(reason) => Some(reason.description()),
        Ending::Punted(reason) => Some(reason.description()),
    }
}

/// Bytes of the Ethernet header of a frame that is not IP for us.
fn link_header(frame: &[u8]) -> usize {
    dataplane::wire::ethernet::Header::parse(frame).map_or(0, |header| header.length)
}

fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
            Some((address(12)?.into(), address(16)?.into()))
        }
        6 => {
            let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
            Some((address(8)?.into(), address(24)?.into()))
        }
        _ => None,
    }
}

fn leaving(sent: &Sent, snapshot: &Snapshot, ports: &[String]) -> Leaving {
    let port = match &sent.to {
        To::Ready(adjacency) => Some(adjacency.port),
        To::Box(_) => None,
        To::Waits(wanted) => snapshot.fib.interface(wanted.interface).map(|interface| interface.port),
    };
    Leaving {
        port: port.map_or_else(|| "box".to_owned(), |port| input::name(port, ports)),
        frame: hex(&sent.frame),
        fields: fields::of(sent.packet()),
    }
}

fn growing(explained: &Explained) -> Vec<Growth> {
    let counts: &Counts = &explained.counts;
    let growth = |name: String, by: u64| (by > 0).then_some(Growth { name, by });
    let events = Event::ALL.iter().map(|event| (format!("events.{}", event.name()), counts.event(*event)));
    let punted =
        PuntReason::ALL.iter().map(|reason| (format!("punted.{}", reason.name()), counts.punted(*reason)));
    let dropped =
        DropReason::ALL.iter().map(|reason| (format!("dropped.{}", reason.name()), counts.dropped(*reason)));
    events.chain(punted).chain(dropped).filter_map(|(name, by)| growth(name, by)).collect()
}

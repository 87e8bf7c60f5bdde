//! Watches the kernel interfaces under ports: one that has lost the program that feeds its port, sends shorter packets than its
//! port, or receives what its port never hears, is told of once, and shown as long as it lasts.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::builder::Done;
use super::machine::Machine;
use crate::errands::Errands;
use crate::kernel::{InterfaceFacts, InterfaceFactsReader};

/// The driver that hears by an XDP program.
const AF_XDP: &str = "net_af_xdp";
/// Frames an interface must have received, and for how long its port must not have heard one, before it counts as deaf.
const DEAF_FRAMES: u64 = 5;
const DEAF_TIME: Duration = Duration::from_secs(5);

/// The interfaces under the ports that have one.
pub(super) struct Watch {
    /// None when the system gives no socket: then there is nothing to be known.
    looks: Option<Looks>,
    ports: Vec<PortWatch>,
}

/// A thread that asks the kernel, which may keep it waiting.
struct Looks {
    thread: Errands,
    reader: Arc<InterfaceFactsReader>,
    interfaces: Arc<[String]>,
    results: mpsc::UnboundedSender<Done>,
    is_looking: bool,
}

/// What the kernel said of each interface, in the order of the ports that have one.
pub(super) type Looked = Vec<io::Result<Option<InterfaceFacts>>>;

struct PortWatch {
    port: usize,
    name: String,
    interface: String,
    has_program: bool,
    /// The port's MTU, in bytes.
    mtu: u16,
    /// The program at first sight.
    program: Option<u32>,
    /// What the interface had received, and the port heard, when the port was last heard to hear.
    heard: Option<(u64, u64, Instant)>,
    complaint: Option<String>,
}

impl Watch {
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn new(machine: &impl Machine, results: mpsc::UnboundedSender<Done>) -> io::Result<Self> {
        let ports = machine.ports().iter().enumerate().filter_map(|(port, facts)| {
            Some(PortWatch {
                port,
                name: facts.name.clone(),
                interface: facts.interface.clone()?,
                has_program: facts.driver == AF_XDP,
                mtu: facts.mtu,
                program: None,
                heard: None,
                complaint: None,
            })
        });
        let ports: Vec<PortWatch> = ports.collect();
        let interfaces = ports.iter().map(|port| port.interface.clone()).collect();
        let looks = match InterfaceFactsReader::new() {
            Ok(reader) => Some(Looks {
                thread: Errands::start("interfaces")?,
                reader: Arc::new(reader),
                interfaces,
                results,
                is_looking: false,
            }),
            Err(_) => None,
        };
        Ok(Self { looks, ports })
    }

    /// What is wrong now, one sentence each.
    pub(super) fn complaints(&self) -> impl Iterator<Item = &String> {
        self.ports.iter().filter_map(|port| port.complaint.as_ref())
    }

    /// Has every interface looked at; once a second. What comes of it is [`Done::Looked`].
    pub(super) fn look(&mut self) {
        let Some(looks) = self.looks.as_mut().filter(|looks| !looks.is_looking) else { return };
        looks.is_looking = true;
        let (reader, interfaces) = (Arc::clone(&looks.reader), Arc::clone(&looks.interfaces));
        let results = looks.results.clone();
        looks.thread.send(move || {
            let looked = interfaces.iter().map(|interface| reader.read(interface)).collect();
            // The actor ends with the process.
            results.send(Done::Looked(looked)).ok();
        });
    }

    /// Every interface was looked at.
    pub(super) fn looked(&mut self, looked: Looked, machine: &impl Machine, now: Instant) {
        if let Some(looks) = &mut self.looks {
            looks.is_looking = false;
        }
        for (port, facts) in self.ports.iter_mut().zip(looked) {
            // An error is no news about the interface.
            if let Ok(facts) = facts {
                let counts = machine.port_counts(port.port);
                port.look(facts, counts.received + counts.missed, now);
            }
        }
    }
}

impl PortWatch {
    fn look(&mut self, facts: Option<InterfaceFacts>, heard: u64, now: Instant) {
        // One that is gone is told of by the kernel's side, which knows it by its number (`kernel::carrier`).
        let Some(facts) = facts else { return };
        let complaint =
            self.lost_program(facts).or_else(|| self.small(facts)).or_else(|| self.deaf(facts, heard, now));
        if complaint == self.complaint {
            return;
        }
        match &complaint {
            Some(complaint) => tracing::error!("{complaint}"),
            None => tracing::info!(
                port = self.name,
                interface = self.interface,
                "the port's interface is well again"
            ),
        }
        self.complaint = complaint;
    }

    fn lost_program(&mut self, facts: InterfaceFacts) -> Option<String> {
        if !self.has_program {
            return None;
        }
        self.program = self.program.or(facts.xdp_program);
        let first = self.program?;
        (facts.xdp_program != Some(first)).then(|| {
            let instead = match facts.xdp_program {
                Some(id) => format!("now carries XDP program {id} of somebody else"),
                None => "has lost its XDP program".to_owned(),
            };
            format!(
                "port {}: interface {} {instead}: the port hears nothing; find out who did it and restart the relay",
                self.name, self.interface
            )
        })
    }

    /// The relay looks at this when it starts; somebody may change it later.
    fn small(&self, facts: InterfaceFacts) -> Option<String> {
        (facts.mtu < u32::from(self.mtu)).then(|| {
            format!(
                "port {}: interface {} has an MTU of {} bytes now, the port one of {}: longer packets are lost there, and no \
                 counter of the relay knows; `ip link set {} mtu {}`",
                self.name, self.interface, facts.mtu, self.mtu, self.interface, self.mtu
            )
        })
    }

    fn deaf(&mut self, facts: InterfaceFacts, heard: u64, now: Instant) -> Option<String> {
        let (received_then, heard_then, since) = *self.heard.get_or_insert((facts.received, heard, now));
        let missed = facts.received.saturating_sub(received_then);
        if heard != heard_then || missed == 0 {
            self.heard = Some((facts.received, heard, now));
            return None;
        }
        (missed >= DEAF_FRAMES && now.duration_since(since) >= DEAF_TIME).then(|| {
            format!(
                "port {}: hears nothing although interface {} receives: are its frames on queues the port does not have \
                 (`ethtool -L`, `ethtool -X`), or did somebody take its program?",
                self.name, self.interface
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(has_program: bool) -> PortWatch {
        let (name, interface) = ("v4".to_owned(), "eth0".to_owned());
        PortWatch {
            port: 0,
            name,
            interface,
            has_program,
            mtu: 1500,
            program: None,
            heard: None,
            complaint: None,
        }
    }

    fn facts(xdp_program: Option<u32>, received: u64) -> Option<InterfaceFacts> {
        Some(InterfaceFacts { xdp_program, received, mtu: 1500, ..InterfaceFacts::default() })
    }

    #[track_caller]
    fn complains(port: &PortWatch, word: Option<&str>) {
        let complaint = port.complaint.as_deref();
        match word {
            Some(word) => assert!(complaint.is_some_and(|text| text.contains(word)), "{word}: {complaint:?}"),
            None => assert_eq!(complaint, None),
        }
    }

    #[test]
    fn a_lost_program_and_a_small_mtu_are_told_until_they_are_mended() {
        let (mut port, now) = (port(true), Instant::now());
        let of_mtu = |mtu| facts(Some(7), 0).map(|facts| InterfaceFacts { mtu, ..facts });
        for (facts, word) in [
            (facts(Some(7), 0), None),
            (facts(None, 0), Some("has lost its XDP program")),
            (facts(Some(8), 0), Some("XDP program 8 of somebody else")),
            (facts(Some(7), 0), None),
            (of_mtu(1499), Some("`ip link set eth0 mtu 1500`")),
            (of_mtu(9000), None),
        ] {
            port.look(facts, 0, now);
            complains(&port, word);
        }
    }

    #[test]
    fn a_port_that_hears_nothing_while_its_interface_does_is_told_in_time() {
        let (mut port, start) = (port(false), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (second, received, heard, word) in [
            (0, 100, 100, None),
            (1, 105, 104, None),
            (2, 105, 104, None),
            (60, 105, 104, None),
            (61, 120, 104, None),
            (64, 130, 104, None),
            (66, 131, 104, Some("hears nothing although")),
            (67, 132, 105, None),
        ] {
            port.look(facts(None, received), heard, after(second));
            complains(&port, word);
        }
    }
}

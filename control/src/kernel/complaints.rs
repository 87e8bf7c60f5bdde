//! What an operator should put right, said once in the log and shown as long as it lasts.

use std::collections::BTreeMap;

use super::event::Link;

/// What a complaint is about: there is one at a time about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// The kernel's neighbour table is smaller than the mapped hosts on connected prefixes.
    SmallNeighborTable,
    /// The kernel's neighbour table is full: of IPv4, or of IPv6.
    FullNeighborTable { ipv6: bool },
    /// The kernel interface behind a port is gone.
    PortInterface(u16),
    /// An interface of the relay belongs to a bridge or bond.
    Enslaved(u32),
    /// Policy rules.
    Rules,
    /// A neighbour that the workers do not know although the kernel does.
    SlowPath,
    /// Routes that the kernel does not take.
    Announcement,
}

/// The complaints of now.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<Topic, String>);

impl Complaints {
    /// There is reason to complain, or no more. The same complaint is not logged twice while it lasts, also when its
    /// numbers change.
    pub(super) fn set(&mut self, topic: Topic, complaint: Option<String>) {
        match complaint {
            Some(text) => {
                if !self.0.contains_key(&topic) {
                    tracing::warn!("{text}");
                }
                self.0.insert(topic, text);
            }
            None => {
                if let Some(text) = self.0.remove(&topic) {
                    tracing::info!("no longer: {text}");
                }
            }
        }
    }

    /// Says no more of interfaces that are gone.
    pub(super) fn drop_enslaved(&mut self, is_gone: impl Fn(u32) -> bool) {
        self.0.retain(|topic, _| !matches!(topic, Topic::Enslaved(index) if is_gone(*index)));
    }

    pub(super) fn has(&self, topic: Topic) -> bool {
        self.0.contains_key(&topic)
    }

    /// All of them, as sentences.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }
}

/// What is to be said about an interface of the relay that belongs to another one.
pub(super) fn about_master(name: &str, master: &Link) -> String {
    format!(
        "interface {name} belongs to {} ({}), whose routes are left to the kernel: take it out (`ip link set {name} nomaster`) \
         and put addresses and routes on {name}",
        master.name, master.kind
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_lasts_until_its_reason_is_gone() {
        let mut complaints = Complaints::default();
        complaints.set(Topic::SmallNeighborTable, Some("one rule".into()));
        complaints.set(Topic::SmallNeighborTable, Some("two rules".into()));
        complaints.set(Topic::FullNeighborTable { ipv6: true }, None);
        assert_eq!(complaints.all(), ["two rules"]);
        complaints.set(Topic::SmallNeighborTable, None);
        assert!(complaints.all().is_empty());
    }
}

//! What an operator should put right, said once in the log and shown as long as it lasts.

use std::collections::BTreeMap;

/// What a complaint is about: there is one at a time about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// The kernel's neighbour table is smaller than the mapped hosts on connected prefixes.
    SmallNeighborTable,
    /// The kernel's neighbour table is full: of IPv4, or of IPv6.
    FullNeighborTable { ipv6: bool },
    /// The kernel interface behind a port is gone.
    PortInterface(u16),
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

    pub(super) fn has(&self, topic: Topic) -> bool {
        self.0.contains_key(&topic)
    }

    /// All of them, as sentences.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }
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

//! What the store said when it was opened, for as long as it is of use.

use eam_store::Notice;

/// Reasons for a degraded health that come from the start.
#[derive(Debug)]
pub(super) struct Notices {
    /// The revision that was in force after the start.
    began: u64,
    /// Said until the relay starts again.
    lasting: Vec<String>,
    /// Said until somebody makes a new revision: who does that has seen which one serves.
    until_changed: Vec<String>,
}

impl Notices {
    /// Those of a start that ended with revision `began`.
    pub(super) fn new(notices: &[Notice], began: u64) -> Self {
        let mut sorted = Self { began, lasting: Vec::new(), until_changed: Vec::new() };
        for notice in notices {
            match notice {
                Notice::Created => {}
                Notice::Reverted { .. } | Notice::Lost { .. } => {
                    sorted.until_changed.push(notice.to_string())
                }
                Notice::Damaged { .. } | Notice::NoWitness(_) => sorted.lasting.push(notice.to_string()),
            }
        }
        sorted
    }

    /// What is to be said while `revision` is in force.
    pub(super) fn in_force(&self, revision: u64) -> impl Iterator<Item = String> {
        let is_unchanged = revision == self.began;
        let others = self.until_changed.iter().filter(move |_| is_unchanged);
        self.lasting.iter().chain(others).cloned()
    }
}

#[cfg(test)]
mod tests {
    use eam_store::RevisionId;

    use super::*;

    #[test]
    fn a_revert_is_said_until_somebody_makes_a_revision() {
        let reverted =
            Notice::Reverted { unconfirmed: RevisionId(7), to: RevisionId(6), recorded: Ok(RevisionId(8)) };
        let broken = Notice::NoWitness("it was damaged".to_owned());
        let notices = Notices::new(&[Notice::Created, reverted, broken], 8);
        let said = |revision| notices.in_force(revision).collect::<Vec<_>>();
        assert_eq!(said(8).len(), 2);
        assert!(said(8)[1].contains("revision 6 serves, as revision 8"), "{:?}", said(8));
        assert_eq!(said(9).len(), 1, "what is still so is still said");
        assert!(said(9)[0].contains("it was damaged"));
    }
}

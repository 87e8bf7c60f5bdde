//! What the socket asks.

use std::net::IpAddr;
use std::time::Duration;

use control_api::{
    Announcement, Candidate, CaptureLine, Check, Committed, Counters, Diff, Digests, DropSample, DropSamples,
    Drops, Entry, Event, Explanation, History, Load, Lookup, MappingLoad, Neighbors, Pending, Pools, Ports,
    Question, Refusal, Reloaded, Revision, Routes, Status, Versions, Workers,
};
use ipnet::IpNet;
use tokio::sync::{broadcast, mpsc};

use crate::mappings::{Edit, Mappings};
use crate::metrics::Page;

/// The process at the other end of a connection, as the kernel knows it (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its number, unless it lives in a namespace we do not see.
    pub pid: Option<u32>,
}

/// What goes with every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Who.
    pub peer: Peer,
    /// Why.
    pub comment: String,
    /// The revision the change was decided on (`If-Match`); none means whatever is in force (`If-Match: *`).
    pub revision: Option<u64>,
    /// A repeated request with the same key (`Idempotency-Key`) is carried out once.
    pub key: Option<String>,
    /// All that is asked for, in a form that is the same when it is asked for again.
    pub request: Vec<u8>,
    /// Undo the change after that time unless it is confirmed.
    pub confirm_within: Option<Duration>,
}

/// Which mappings to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only mappings with a prefix inside this one, or around it.
    pub within: Option<IpNet>,
    /// Only those of that owner.
    pub owner: Option<String>,
    /// So many at most.
    pub limit: Option<u64>,
}

/// What to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureQuery {
    /// Which packets, in words.
    pub filter: String,
    /// So many at most.
    pub count: u64,
    /// For so long at most.
    pub time: Duration,
    /// Packets a second at most.
    pub rate: u32,
    /// Bytes of each frame at most.
    pub snap: u32,
}

/// Whose traffic to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrafficQuery {
    /// Only mappings with a prefix inside this one, or around it.
    pub within: Option<IpNet>,
    /// So many of the busiest, by bytes; without it all, ordered by IPv4 prefix.
    pub top: Option<u32>,
}

/// A long list, a slice at a time. Each is a bounded amount of work and of memory, whatever the list leaves out: it may be empty.
pub type Slices<T> = Box<dyn Iterator<Item = Vec<T>> + Send>;

/// The mappings of one moment.
pub struct Entries {
    /// The revision of that moment.
    pub revision: u64,
    /// They, ordered by IPv4 prefix.
    pub slices: Slices<Entry>,
}

/// Events from now on. A bounded ring: who does not keep up is told how many he missed.
pub struct Events {
    /// The revision in force.
    pub revision: u64,
    /// What happens after.
    pub receiver: broadcast::Receiver<Event>,
}

/// What answers. Calls may block: they are made from threads that may. One that changes something returns when the change
/// is in force on every worker and durable.
///
/// Mappings are the store's in every relay; the rest differs.
///
/// # Errors
/// Every method: a [`Refusal`] with its reason and remedy. Nothing has changed then.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Relay: Send + Sync + 'static {
    /// Program and build.
    fn versions(&self) -> Versions;
    /// The relay in short.
    fn status(&self) -> Result<Status, Refusal>;
    /// Reads the configuration again.
    fn reload(&self, peer: Peer) -> Result<Reloaded, Refusal>;
    /// Ports.
    fn ports(&self) -> Result<Ports, Refusal>;
    /// Workers.
    fn workers(&self) -> Result<Workers, Refusal>;
    /// Routes, so many at most.
    fn routes(&self, limit: u32) -> Result<Routes, Refusal>;
    /// Neighbours.
    fn neighbors(&self) -> Result<Neighbors, Refusal>;
    /// Counters.
    fn counters(&self) -> Result<Counters, Refusal>;
    /// Every drop reason.
    fn drops(&self) -> Result<Drops, Refusal>;
    /// The newest samples of dropped packets, of one reason or of all, so many at most, newest first.
    fn drop_samples(&self, reason: Option<&str>, last: u32) -> Result<DropSamples, Refusal>;
    /// One of them, as long as it is kept.
    fn drop_sample(&self, id: u64) -> Result<Option<DropSample>, Refusal>;
    /// Captures packets. A bounded queue: who does not keep up loses some, and is told how many.
    fn capture(&self, query: &CaptureQuery) -> Result<mpsc::Receiver<CaptureLine>, Refusal>;
    /// Whether the relay is in service.
    fn announcement(&self) -> Result<Announcement, Refusal>;
    /// Begins to take it out of service, with that lead if one is given.
    fn drain(&self, peer: Peer, lead: Option<Duration>) -> Result<Announcement, Refusal>;
    /// Takes a drain back.
    fn undrain(&self, peer: Peer) -> Result<Announcement, Refusal>;
    /// What the mappings in use hash to.
    fn digest(&self) -> Result<Digests, Refusal>;
    /// What moves.
    fn load(&self) -> Result<Load, Refusal>;
    /// Traffic of mappings, of a removed one as well.
    fn traffic(&self, query: &TrafficQuery) -> Result<Slices<MappingLoad>, Refusal>;
    /// A page of metrics for a client that accepts that.
    fn metrics(&self, accept: &str) -> Result<Page, Refusal>;
    /// What the data path would do with a packet.
    fn explain(&self, question: &Question) -> Result<Explanation, Refusal>;

    /// The mappings.
    fn mappings(&self) -> &Mappings;
    /// Hears of every revision that was made through the socket.
    fn committed(&self, _intent: &Intent, _committed: &Committed) {}
    /// What made a revision is heard of; what was there before is not.
    fn told(&self, intent: &Intent, made: Committed) -> Committed {
        if !made.repeated {
            self.committed(intent, &made);
        }
        made
    }
    /// Hears of every confirmation.
    fn confirmed(&self, _intent: &Intent, _revision: &Revision) {}

    /// The revision in force.
    fn revision(&self) -> u64 {
        self.mappings().revision()
    }
    /// Mappings.
    fn eams(&self, query: &ListQuery) -> Result<Entries, Refusal> {
        self.mappings().eams(query)
    }
    /// The mapping with exactly this prefix.
    fn eam(&self, prefix: IpNet) -> Result<Entry, Refusal> {
        self.mappings().eam(prefix)
    }
    /// How an address is translated.
    fn lookup(&self, address: IpAddr) -> Result<Lookup, Refusal> {
        self.mappings().lookup(address)
    }
    /// The service pools.
    fn pools(&self) -> Result<Pools, Refusal> {
        self.mappings().pools()
    }
    /// Changes mappings. With `replace`, those of the store that are not named go.
    fn change(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        let made = self.mappings().change(intent, edits, replace)?;
        Ok(self.told(intent, made))
    }
    /// Puts changes into the candidate.
    fn stage(&self, intent: &Intent, edits: Vec<Edit>, replace: bool) -> Result<Committed, Refusal> {
        self.mappings().stage(intent, &edits, replace)
    }
    /// What is in the candidate.
    fn candidate(&self) -> Result<Candidate, Refusal> {
        self.mappings().candidate()
    }
    /// Throws the candidate away; says what was in it.
    fn discard(&self) -> Result<Candidate, Refusal> {
        Ok(self.mappings().discard())
    }
    /// Commits the candidate.
    fn commit(&self, intent: &Intent) -> Result<Committed, Refusal> {
        let made = self.mappings().commit(intent)?;
        Ok(self.told(intent, made))
    }
    /// What awaits confirmation.
    fn pending(&self) -> Result<Option<Pending>, Refusal> {
        Ok(self.mappings().pending())
    }
    /// Keeps what awaits confirmation. Said again of the same revision, it is kept already.
    fn confirm(&self, intent: &Intent) -> Result<Revision, Refusal> {
        let (kept, is_new) = self.mappings().confirm(intent)?;
        if is_new {
            self.confirmed(intent, &kept);
        }
        Ok(kept)
    }
    /// Makes the table of an earlier revision the one in force, as a new revision.
    fn rollback(&self, intent: &Intent, to: u64) -> Result<Committed, Refusal> {
        let made = self.mappings().rollback(intent, to)?;
        Ok(self.told(intent, made))
    }
    /// Findings about the candidate, or about what is in force when there is none.
    fn check(&self) -> Result<Check, Refusal> {
        self.mappings().check()
    }
    /// What is different between two revisions; without the second, what is in force.
    fn diff(&self, from: u64, to: Option<u64>) -> Result<Diff, Refusal> {
        self.mappings().diff(from, to)
    }
    /// Revisions before the given one, newest first.
    fn history(&self, before: Option<u64>, limit: u32) -> Result<History, Refusal> {
        self.mappings().history(before, limit)
    }
    /// Events from now on.
    fn events(&self) -> Events {
        self.mappings().events()
    }
}

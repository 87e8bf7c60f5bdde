//! The store's words as the API has them.

use control_api::{Changed, Code, Diff, Entry, Finding, Pending, Refusal, Revision, State, rfc3339};
use eam_store::{
    Changes, CommitError, Conflict, Eam, Family, Fault, Kind, OwnedRow, Owner, Row, StageError, StoreError,
    TooLarge,
};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::reply::refused;

/// Mappings of a difference that are listed one by one.
const LISTED: usize = 10_000;

pub(super) fn entry(owned: &OwnedRow) -> Entry {
    let line = match owned.owner {
        Owner::Store => None,
        Owner::Config { line, .. } | Owner::File { line, .. } => Some(line),
    };
    Entry { owner: owned.owner.to_string(), line, ..stored(&owned.row) }
}

fn stored(row: &Row) -> Entry {
    Entry {
        ipv4: row.eam().ipv4().to_string(),
        ipv6: row.eam().ipv6().to_string(),
        owner: Owner::Store.to_string(),
        comment: row.comment().unwrap_or_default().to_owned(),
        line: None,
    }
}

fn time(time: SystemTime) -> String {
    rfc3339(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

pub(super) fn revision(revision: &eam_store::Revision) -> Revision {
    let (kind, to) = match revision.kind {
        Kind::Created => ("created", None),
        Kind::Commit => ("commit", None),
        Kind::Rollback { to } => ("rollback", Some(to.0)),
        Kind::Automatic { to, cause } => (cause.name(), Some(to.0)),
    };
    let state = match revision.state {
        eam_store::State::Active => State::Active,
        eam_store::State::Pending => State::Pending,
        eam_store::State::Superseded => State::Superseded,
        eam_store::State::Reverted => State::Reverted,
    };
    Revision {
        id: revision.id.0,
        parent: revision.parent.map(|parent| parent.0),
        time: time(revision.time),
        uid: revision.author.uid,
        pid: revision.author.pid,
        comment: revision.author.comment.clone(),
        added: revision.counts.added,
        removed: revision.counts.removed,
        changed: revision.counts.changed,
        eams: revision.rows,
        digest: revision.digest.to_string(),
        state,
        kind: kind.to_owned(),
        back_to: to,
        until: revision.until.map(time),
        confirmed: revision.confirmed.map(|(at, _)| time(at)),
        confirmed_by: revision.confirmed.map(|(_, uid)| uid),
    }
}

pub(super) fn pending(pending: &eam_store::Pending) -> Pending {
    Pending {
        until: pending.revision.until.map_or_else(String::new, time),
        revision: revision(&pending.revision),
        back_to: pending.prior.0,
        seconds: pending.remaining.as_secs(),
    }
}

pub(super) fn diff(from: u64, to: Option<u64>, changes: &Changes) -> Diff {
    let counts = changes.counts();
    let mut diff = Diff {
        from,
        to,
        added: counts.added,
        removed: counts.removed,
        changed: counts.changed,
        added_eams: Vec::new(),
        removed_eams: Vec::new(),
        changed_eams: Vec::new(),
        more: changes.as_slice().len().saturating_sub(LISTED) as u64,
    };
    for change in changes.as_slice().iter().take(LISTED) {
        match (change.before(), change.after()) {
            (Some(from), Some(to)) => {
                diff.changed_eams.push(Changed { from: stored(from), to: stored(to) });
            }
            (Some(from), None) => diff.removed_eams.push(stored(from)),
            (None, Some(to)) => diff.added_eams.push(stored(to)),
            (None, None) => {}
        }
    }
    diff
}

/// A conflict, with the line of the edit that has it.
pub(super) fn conflict(line: Option<u32>, conflict: &Conflict) -> Finding {
    let eam = |eam: &Eam| format!("{} = {}", eam.ipv4(), eam.ipv6());
    let place = |row: &OwnedRow| match &row.owner {
        Owner::Store => "the store".to_owned(),
        Owner::Config { file, line } => format!("{file}, line {line}"),
        Owner::File { name, line } => format!("{name}, line {line}"),
    };
    let row = |row: &OwnedRow| format!("{} ({})", eam(&row.row.eam()), place(row));
    let (value, message, remedy) = match conflict {
        Conflict::Duplicate { eam: about, family, other } => (
            eam(about),
            format!("its {family} prefix is also in {}", row(other)),
            match (&other.owner, family) {
                (Owner::Store, Family::Ipv4) => {
                    "remove that one first, or replace it: `eam add --replace`, \"op\":\"set\""
                }
                (Owner::Store, Family::Ipv6) => "remove that one first",
                _ => {
                    "change it there and `borderctl reload`, or leave it out here: `borderctl eam export --owner store` does"
                }
            }
            .to_owned(),
        ),
        Conflict::Returns { eam: about, pending, family, other } => (
            eam(about),
            format!(
                "comes back unless revision {pending} is confirmed, and its {family} prefix is also in {}",
                row(other)
            ),
            "confirm that revision first, or take it back".to_owned(),
        ),
        Conflict::Overlap { eam: about, family, other } => (
            eam(about),
            format!("its {family} prefix overlaps {}", row(other)),
            "choose another prefix, or allow overlaps: `eam_overlap = \"warn\"`".to_owned(),
        ),
        Conflict::OwnedElsewhere(other) => (
            eam(&other.row.eam()),
            format!("is written in {}", place(other)),
            "change it there and `borderctl reload`".to_owned(),
        ),
        Conflict::Missing(ipv4) => (
            ipv4.to_string(),
            "is not mapped".to_owned(),
            "`borderctl eam list` shows what there is".to_owned(),
        ),
        Conflict::NotAsExpected { ipv4, expected, held } => (
            ipv4.to_string(),
            format!("is not mapped to {expected}: {}", row(held)),
            "name the mapping as it is".to_owned(),
        ),
        Conflict::Moved(ipv4) => (
            ipv4.to_string(),
            "somebody changed this mapping since the candidate was begun".to_owned(),
            "`borderctl discard`, and stage it again".to_owned(),
        ),
        Conflict::Refused { eam: about, reason } => {
            let (message, remedy) = reason.split_once("; ").unwrap_or((reason, "correct it"));
            (eam(about), message.to_owned(), remedy.to_owned())
        }
    };
    Finding { line, value, message, remedy }
}

/// What is worth saying about an edit that was accepted.
pub(super) fn warning(line: Option<u32>, finding: &eam_store::Finding) -> Finding {
    let (eam, message, remedy) = match finding {
        eam_store::Finding::Overlap { eam, family, other } => (
            eam,
            format!("its {family} prefix overlaps {other}"),
            "nothing, if that is meant: the longest match wins".to_owned(),
        ),
        eam_store::Finding::Other { eam, text } => {
            let (message, remedy) = text.split_once("; ").unwrap_or((text, "nothing, if that is meant"));
            (eam, message.to_owned(), remedy.to_owned())
        }
    };
    Finding { line, value: format!("{} = {}", eam.ipv4(), eam.ipv6()), message, remedy }
}

pub(super) fn store_error(error: &StoreError) -> Refusal {
    let remedy = match error.fault {
        Fault::Full => "free space on its file system, and repeat the request",
        Fault::Removed => {
            "put the file back, or `borderctl eam export --owner store >FILE`, restart the relay, and `borderctl eam import FILE`"
        }
        Fault::InDoubt => {
            "free space on its file system (where there is some: see the kernel's log), and repeat the request; what runs goes on as \
             before"
        }
        Fault::ReadOnly => "remount its file system writable, and repeat the request",
        Fault::Locked => "end whatever else has it open, and repeat the request",
        Fault::Damaged => "restart the relay, which saves what is sound",
        _ => {
            "see the kernel's log, and repeat the request once the disk takes writes; what runs goes on as before"
        }
    };
    Refusal::new(Code::Unavailable, error.to_string(), remedy)
}

/// What there is no room for.
pub(super) fn too_large(error: &TooLarge) -> Refusal {
    let remedy = match error {
        TooLarge::Rows { .. } => "remove mappings first, or `borderctl discard` what is staged",
        TooLarge::Notes { .. } => "commit what is staged first, or `borderctl discard` it",
    };
    Refusal::new(Code::TooLarge, error.to_string(), remedy)
}

pub(super) fn stage_error(line: Option<u32>, error: &StageError) -> Refusal {
    match error {
        StageError::Conflict(found) => refused(vec![conflict(line, found)], 0),
        StageError::Store(error) => store_error(error),
    }
}

pub(super) fn commit_error(error: &CommitError) -> Refusal {
    let (code, remedy) = match error {
        CommitError::Stale { .. } => {
            (Code::Conflict, "look at `borderctl diff`, and commit with `--on REVISION`")
        }
        CommitError::Pending(_) => (Code::Pending, "wait until it is confirmed or undone"),
        CommitError::NotPending(_) => (Code::NotFound, "`borderctl history` shows what became of it"),
        CommitError::KeyReused { .. } => (Code::InvalidRequest, "take a new key for every request"),
        CommitError::UnknownRevision(_) => (Code::NotFound, "`borderctl history` lists them"),
        CommitError::Comment(_) | CommitError::ConfirmWithin(_) => (Code::InvalidRequest, "correct it"),
        CommitError::TooLarge(error) => return too_large(error),
        CommitError::Conflict(found) => return refused(vec![conflict(None, found)], 0),
        CommitError::Store(error) => return store_error(error),
    };
    let mut refusal = Refusal::new(code, error.to_string(), remedy);
    refusal.revision = match error {
        CommitError::Stale { faster, .. } => Some(Box::new(revision(faster))),
        CommitError::Pending(pending) => Some(Box::new(revision(&pending.revision))),
        _ => None,
    };
    refusal
}

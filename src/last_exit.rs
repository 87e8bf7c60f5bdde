//! How the process before this one ended: a small file beside the store says it, also when nobody could write a last word.
//!
//! ```text
//!  start: read what is there, then write "runs"       every 10 s: the file's time is set anew
//!  end:   write why                                   a panic: write what it says
//!  found "runs" at a start: it was killed, or a driver crashed, or (another boot) the machine went down
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How often the file is touched: when a process that was killed was last alive is known to that.
const ALIVE: Duration = Duration::from_secs(10);
/// Longest cause that is kept.
const CAUSE: usize = 2000;

/// Where this process writes.
static OWN: OnceLock<Own> = OnceLock::new();

struct Own {
    path: PathBuf,
    record: Record,
}

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: u32,
    /// Seconds since 1970.
    started: u64,
    /// Which start of the machine (`/proc/sys/kernel/random/boot_id`).
    boot: String,
    /// None while it runs.
    ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    /// Seconds since 1970.
    at: u64,
    orderly: bool,
    cause: String,
}

/// How the process before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastExit {
    /// Seconds since 1970; of one that was killed, when it was last seen alive.
    pub(crate) at: u64,
    /// It ended as it was asked to.
    pub(crate) orderly: bool,
    /// Why, in one sentence.
    pub(crate) cause: String,
    /// How long it ran, in seconds.
    pub(crate) ran: u64,
    /// Its pid.
    pub(crate) pid: u32,
}

/// Begins the record of this process beside the store; says how the one before ended, if there was one.
pub(crate) fn begin(store: &Path) -> Option<LastExit> {
    let mut path = store.as_os_str().to_owned();
    path.push("-exit");
    let path = PathBuf::from(path);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    let last = read(&path, &boot);
    if last.is_none() && path.exists() {
        tracing::warn!(path = %path.display(), "it is not known how the relay before this one ended: it could not write that");
    }
    let record = Record { pid: std::process::id(), started: now(), boot, ended: None };
    write(&path, &record);
    if OWN.set(Own { path: path.clone(), record }).is_ok() {
        note_panics();
        let alive = thread::Builder::new().name("alive".to_owned()).spawn(move || {
            loop {
                thread::sleep(ALIVE);
                File::options()
                    .write(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(SystemTime::now()))
                    .ok();
            }
        });
        if let Err(error) = alive {
            tracing::warn!(%error, "if this process is killed, nobody will know when");
        }
    }
    last
}

/// Why this process ends.
pub(crate) fn end(orderly: bool, cause: &str) {
    if let Some(own) = OWN.get() {
        let cause = cause.chars().take(CAUSE).collect();
        write(&own.path, &Record { ended: Some(Ended { at: now(), orderly, cause }), ..own.record.clone() });
    }
}

/// A panic ends the process: it says so first.
fn note_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let name = thread::current().name().unwrap_or("without a name").to_owned();
        end(false, &format!("a bug: thread {name}: {panic}"));
        before(panic);
    }));
}

fn read(path: &Path, boot: &str) -> Option<LastExit> {
    let text = fs::read_to_string(path).ok()?;
    let record: Record = serde_json::from_str(&text).ok()?;
    let (at, orderly, cause) = match record.ended {
        Some(Ended { at, orderly, cause }) => (at, orderly, cause),
        None => {
            let alive = fs::metadata(path).and_then(|facts| facts.modified()).map_or(record.started, seconds);
            let cause = if record.boot == boot {
                "it was killed, or crashed without a word: `journalctl -k` tells of a lack of memory or a fault"
            } else {
                "the machine went down while it ran"
            };
            (alive.max(record.started), false, cause.to_owned())
        }
    };
    Some(LastExit { at, orderly, cause, ran: at.saturating_sub(record.started), pid: record.pid })
}

/// Whole, where there is room for a second file. Otherwise in the place of what is there, which would be taken for the end of this
/// process: what is torn by that says nothing. What cannot be written is not worth a relay that does not run.
fn write(path: &Path, record: &Record) {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let text = serde_json::to_string(record).unwrap_or_default() + "\n";
    let written = fs::write(&new, &text).and_then(|()| fs::rename(&new, path)).or_else(|_| {
        // Half of it takes room.
        fs::remove_file(&new).ok();
        fs::write(path, &text)
    });
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "how this process ends will not be known");
    }
}

fn now() -> u64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(boot: &str, ended: Option<Ended>) -> Record {
        Record { pid: 7, started: 1_000, boot: boot.to_owned(), ended }
    }

    /// As on a full disk: what is there can be written over.
    #[test]
    fn no_process_is_taken_for_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mappings.db-exit");
        write(&path, &record("b", None));
        fs::create_dir(directory.path().join("mappings.db-exit.new")).unwrap();
        write(&path, &Record { pid: 8, ..record("b", None) });
        assert_eq!(read(&path, "b").unwrap().pid, 8);
        let stopped = Ended { at: 1_060, orderly: true, cause: "it was asked to stop".to_owned() };
        write(&path, &Record { pid: 8, ..record("b", Some(stopped)) });
        assert!(read(&path, "b").unwrap().orderly);
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path, "b"), None, "nobody knows");
    }

    #[test]
    fn every_kind_of_end_is_told_from_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mappings.db-exit");
        assert_eq!(read(&path, "b"), None, "the first start");
        let stopped = Ended { at: 1_060, orderly: true, cause: "it was asked to stop".to_owned() };
        write(&path, &record("b", Some(stopped)));
        let last = read(&path, "b").unwrap();
        assert_eq!((last.orderly, last.ran, last.pid), (true, 60, 7));
        let bug = Ended { at: 1_001, orderly: false, cause: "a bug: thread worker".to_owned() };
        write(&path, &record("b", Some(bug)));
        assert!(read(&path, "b").unwrap().cause.contains("worker"));
        write(&path, &record("b", None));
        let killed = read(&path, "b").unwrap();
        assert!(!killed.orderly && killed.cause.contains("killed"), "{killed:?}");
        assert!(now() - killed.at < 60, "it was alive when the file was written");
        assert!(read(&path, "another boot").unwrap().cause.contains("machine"));
        fs::write(&path, "half a rec").unwrap();
        assert_eq!(read(&path, "b"), None, "damage is no reason not to start");
    }
}

//! What a store is after its process, its disk or its bytes failed: an acknowledged revision or a named refusal, never a
//! third table, and no acknowledged revision lost without a word.
//!
//! Some tests start themselves again as the process that is ended or starved; `BORDERLINE_STORE_CHILD` tells it where and
//! what. `BORDERLINE_LONG=1` makes the rounds many.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{Lab, candidate, finish, host, noon, noted, open, request, rows};
use eam_store::{
    Candidate, CommitError, Digest, Edit, Fault, Kind, ManualClock, Notice, Request, RevisionId, Row, State,
    Step, Store, StoreError,
};

const CHILD: &str = "BORDERLINE_STORE_CHILD";

fn rounds(short: u32, long: u32) -> u32 {
    if std::env::var_os("BORDERLINE_LONG").is_some() { long } else { short }
}

/// Good enough to be different each time, and the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

// The child. It says what it tries before it does, and what was acknowledged after.

#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (path, task) = task.split_once('|').unwrap();
    let path = Path::new(path);
    match task.split_once('|').unwrap() {
        ("forever", seed) => forever(path, seed.parse().unwrap()),
        ("starve", commits) => starve(path, commits.parse().unwrap()),
        ("fill", ballast) => fill(path, Path::new(ballast)),
        ("owe", ballast) => owe(path, Path::new(ballast)),
        (other, _) => panic!("{other}"),
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A leading line feed: the test harness has begun a line of its own.
    writeln!(out, "\n{text}").and_then(|()| out.flush()).unwrap();
}

fn forever(path: &Path, seed: u64) {
    let mut random = Random(seed | 1);
    let mut store = Store::open(path, eam_store::Options::default()).unwrap().store;
    loop {
        act(&mut store, &mut random).unwrap();
    }
}

/// One commit, rollback or confirmation.
fn act(store: &mut Store, random: &mut Random) -> Result<(), CommitError> {
    if let Some(pending) = store.pending() {
        let author = pending.revision.author.clone();
        return match random.below(2) {
            0 => {
                say(&format!("try {}", pending.revision.digest));
                let receipt = store.confirm(pending.revision.id, &author)?;
                acknowledge(receipt.revision().id, receipt.revision().digest, receipt.revision().state);
                Ok(())
            }
            _ => {
                let request = request(store);
                step(store.rollback(pending.prior, request))
            }
        };
    }
    let wait = (random.below(3) == 0).then_some(Duration::from_secs(60));
    let request = Request { confirm_within: wait, ..request(store) };
    if random.below(4) == 0 {
        let to = RevisionId(1 + random.below(store.head().id.0));
        return match step(store.rollback(to, request)) {
            // Not every name was given: revisions that were not finished left gaps.
            Err(CommitError::UnknownRevision(_)) => Ok(()),
            other => other,
        };
    }
    let mut candidate = Candidate::default();
    for _ in 0..1 + random.below(40) {
        let number = u32::try_from(random.below(300)).unwrap();
        let to = u32::try_from(random.below(1000)).unwrap();
        let _ = match random.below(3) {
            0 => store.stage(&mut candidate, Edit::Remove { ipv4: host(number, 0).eam().ipv4(), ipv6: None }),
            _ => store.stage(&mut candidate, Edit::Put(noted(&host(number, to), "note"))),
        };
    }
    step(store.commit(&candidate, request))
}

fn step(step: Result<Step<'_>, CommitError>) -> Result<(), CommitError> {
    let receipt = match step? {
        Step::Done(receipt) => receipt,
        Step::Prepared(prepared) => {
            say(&format!("try {}", prepared.revision().digest));
            prepared.make_durable()?.published()
        }
    };
    acknowledge(receipt.revision().id, receipt.revision().digest, receipt.revision().state);
    Ok(())
}

fn acknowledge(id: RevisionId, digest: Digest, state: State) {
    say(&format!("ack {id} {digest} {}", state.name()));
}

/// Runs against a limit that it does not know.
fn starve(path: &Path, commits: u32) {
    let mut random = Random(7);
    let mut store = match Store::open(path, eam_store::Options::default()) {
        Ok(opened) => opened.store,
        Err(error) => return say(&format!("refused open {}", fault(&error))),
    };
    for _ in 0..commits {
        let (head, before) = (store.head().clone(), rows(&store));
        match act(&mut store, &mut random) {
            Ok(()) => {}
            Err(CommitError::Store(error)) => {
                say(&format!("refused {}", fault(&error)));
                assert_eq!((store.head(), rows(&store)), (&head, before), "a refusal changes nothing");
            }
            Err(other) => panic!("{other}"),
        }
    }
    say("end");
}

fn fault(error: &StoreError) -> String {
    format!("{:?}: {error}", error.fault)
}

/// Fills a disk, makes room again, and goes on.
fn fill(path: &Path, ballast: &Path) {
    let mut store = Store::open(path, eam_store::Options::default()).unwrap().store;
    leave_no_room(ballast);
    let mut random = Random(3);
    let mut refused = 0;
    while refused < 5 {
        let (head, before) = (store.head().clone(), rows(&store));
        match act(&mut store, &mut random) {
            Ok(()) => {}
            Err(CommitError::Store(error)) => {
                assert!(matches!(error.fault, Fault::Full | Fault::InDoubt), "{error}");
                say(&format!("refused {error}"));
                assert_eq!((store.head(), rows(&store)), (&head, before), "a refusal changes nothing");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    fs::remove_file(ballast).unwrap();
    act(&mut store, &mut random).unwrap();
    let (head, table) = (store.head().clone(), rows(&store));
    drop(store);
    let again = Store::open(path, eam_store::Options::default()).unwrap();
    if head.state == State::Pending {
        assert!(matches!(again.notices[..], [Notice::Reverted { .. }]));
    } else {
        assert_eq!((again.notices.len(), again.store.head(), rows(&again.store)), (0, &head, table));
    }
    say("end");
}

fn leave_no_room(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

/// Nobody confirms, and the disk has no room to say so.
fn owe(path: &Path, ballast: &Path) {
    let clock = ManualClock::new(noon());
    let mut store = open(path, &clock).unwrap().store;
    let kept = [Edit::Add(host(5000, 5000)), Edit::Add(host(5001, 5001))];
    finish(store.commit(&candidate(&store, &kept), request(&store))).unwrap();
    let request = Request { confirm_within: Some(Duration::from_secs(60)), ..request(&store) };
    let mut edits: Vec<_> = (0..2000).map(|number| Edit::Add(noted(&host(number, number), "note"))).collect();
    edits.push(Edit::Change(host(5000, 5002)));
    let staged = candidate(&store, &edits);
    finish(store.commit(&staged, request)).unwrap();
    leave_no_room(ballast);
    clock.advance(Duration::from_secs(60));
    let expired = store.expire().unwrap().unwrap();
    assert_eq!(expired.changes().lost().count(), 2001, "the data path goes back all the same");
    let error = expired.record().unwrap_err();
    assert!(matches!(error.fault, Fault::Full | Fault::InDoubt), "{error}");
    // A reload makes tables of what is in use, not of what the file still says.
    let in_use = [host(5000, 5000).eam(), host(5001, 5001).eam()];
    assert_eq!((store.eams_in_use().unwrap(), store.eams().unwrap().len()), (in_use.to_vec(), 2002));
    let other = common::request(&store);
    assert!(matches!(
        finish(store.commit(&staged, other)),
        Err(CommitError::Pending(_) | CommitError::Store(_))
    ));
    let again = store.expire().unwrap().unwrap();
    assert!(again.changes().is_empty() && again.record().is_err(), "once");
    fs::remove_file(ballast).unwrap();
    let told = store.expire().unwrap().unwrap();
    assert!(told.changes().is_empty());
    assert_eq!(told.record().unwrap().revision().id, RevisionId(4));
    assert_eq!((rows(&store).len(), store.pending()), (2, None));
    assert_eq!(store.eams_in_use().unwrap(), in_use);
    assert!(store.expire().unwrap().is_none());
    say("end");
}

// The parent.

fn command(program: &mut Command, path: &Path, task: &str) -> Child {
    let task = format!("{}|{task}", path.display());
    program
        .env(CHILD, task)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn myself() -> PathBuf {
    std::env::current_exe().unwrap()
}

const ARGUMENTS: [&str; 3] = ["--exact", "child", "--nocapture"];

/// What a child said: the digest it tried last, unless it was acknowledged, and all that was.
#[derive(Default)]
struct Said {
    tried: Option<Digest>,
    acknowledged: Vec<(RevisionId, Digest, String)>,
}

fn listen(lines: impl Iterator<Item = String>) -> Said {
    let mut said = Said::default();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            // The last line may be cut short.
            ["try", digest] => said.tried = digest.parse().ok(),
            ["ack", id, digest, state] => {
                if let (Ok(id), Ok(digest)) = (id.parse(), digest.parse()) {
                    said.acknowledged.push((id, digest, state.to_owned()));
                    said.tried = None;
                }
            }
            _ => {}
        }
    }
    said
}

#[test]
fn killed_at_any_moment_it_has_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mappings.db");
    let mut random = Random(0x5eed);
    let (mut acknowledged, mut takes_back) = (0, 0);
    let mut last: Option<(RevisionId, Digest)> = None;
    for round in 1..=1000 {
        // Goes on until it was killed between a commit and its confirmation, whatever the machine makes of the time.
        if round > rounds(40, 200) && takes_back > 0 {
            break;
        }
        let mut child = command(Command::new(myself()).args(ARGUMENTS), &path, &format!("forever|{round}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let reader = thread::spawn(move || listen(stdout.lines().map_while(Result::ok)));
        thread::sleep(Duration::from_micros(random.below(150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = reader.join().unwrap();
        let opened = open(&path, &ManualClock::new(noon())).unwrap();
        let is_expected = |notice: &Notice| matches!(notice, Notice::Reverted { .. } | Notice::Created);
        assert!(opened.notices.iter().all(is_expected), "{:?}", opened.notices);
        let reverted = opened.notices.iter().any(|notice| matches!(notice, Notice::Reverted { .. }));
        let head = opened.store.head().clone();
        assert_eq!(Digest::of_rows(&rows(&opened.store)), head.digest, "the table is that of its revision");
        for (id, digest, _) in &said.acknowledged {
            let revision = opened.store.revision(*id).unwrap().expect("what was acknowledged is there");
            assert_eq!(revision.digest, *digest);
        }
        let newest = said.acknowledged.last().map(|(id, digest, _)| (*id, *digest)).or(last);
        let may_be: HashSet<Digest> =
            newest.map(|(_, digest)| digest).into_iter().chain(said.tried).collect();
        if reverted {
            // What waited is not in force; what is, was acknowledged before it.
            takes_back += 1;
            assert_eq!(opened.store.history(None, 2).unwrap()[1].state, State::Reverted);
        } else if let Some((id, _)) = newest {
            assert!(
                head.id >= id && may_be.contains(&head.digest),
                "{head:?} is neither {newest:?} nor what was tried"
            );
            let was_pending = said.acknowledged.last().is_some_and(|(_, _, state)| state == "pending");
            assert!(!was_pending || said.tried.is_some(), "what was not confirmed must not stay");
        }
        acknowledged += said.acknowledged.len();
        last = Some((head.id, head.digest));
    }
    assert!(
        acknowledged > 20 && takes_back > 0,
        "{acknowledged} acknowledged, {takes_back} taken back: it never ran"
    );
}

/// Every file of the store at its side, by name.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let all = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let ours = all.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(name));
    ours.map(|file| (file.file_name().unwrap().into(), fs::read(&file).unwrap())).collect()
}

fn lay_out(files: &BTreeMap<PathBuf, Vec<u8>>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let path = directory.path().join("mappings.db");
    (directory, path)
}

/// A lab with a history, and the table of each of its revisions.
fn history(revisions: u32) -> (Lab, BTreeMap<RevisionId, Vec<Row>>) {
    let mut lab = Lab::new();
    let mut tables = BTreeMap::from([(RevisionId(1), Vec::new())]);
    for number in 0..revisions {
        let edits: Vec<_> = (0..20)
            .map(|host_of| Edit::Put(noted(&host(number * 7 + host_of, number * 100 + host_of), "rack")))
            .collect();
        let id = lab.commit(&edits).revision().id;
        tables.insert(id, rows(lab.store()));
    }
    (lab, tables)
}

/// Opens what a failure left: the revision that is served, and whether a loss or damage is told; none where the start is
/// refused by name. Whatever is served is a table that was there under that number, and so is each one it can go back to.
fn proven(path: &Path, tables: &BTreeMap<RevisionId, Vec<Row>>) -> Option<(RevisionId, bool)> {
    let opened = match open(path, &ManualClock::new(noon())) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(error.to_string().contains("mappings.db"), "{error}");
            return None;
        }
    };
    let head = opened.store.head().clone();
    let is_told = |notice: &Notice| match notice {
        Notice::Damaged { .. } | Notice::Lost { .. } => true,
        Notice::Reverted { recorded, .. } => recorded.is_err(),
        Notice::Created | Notice::NoWitness(_) => false,
    };
    let is_told = opened.notices.iter().any(is_told);
    if let Some(pending) = opened.store.pending() {
        // The file takes no writes any more. What waits in it is not what serves.
        assert!(opened.store.owes_rollback() && is_told, "{:?}", opened.notices);
        let table = &tables[&pending.prior];
        assert_eq!(opened.eams, table.iter().map(Row::eam).collect::<Vec<_>>(), "never a third table");
        assert_eq!(opened.store.eams_in_use().unwrap(), opened.eams);
        return Some((pending.prior, true));
    }
    let served = match head.kind {
        Kind::Automatic { to, .. } => to,
        _ => head.id,
    };
    assert_eq!(Some(&rows(&opened.store)), tables.get(&served), "never a third table");
    assert_eq!(opened.store.eams().unwrap(), opened.eams);
    for (id, table) in tables {
        if let Ok(changes) = opened.store.diff(head.id, *id) {
            assert_eq!(changes.digest_from(head.digest), Digest::of_rows(table), "nor a false history");
        }
    }
    Some((served, is_told))
}

/// Two revisions more, which wait to be confirmed.
fn pend(lab: &mut Lab) {
    for number in 0..2 {
        let edits: Vec<_> = (0..20)
            .map(|host_of| {
                Edit::Put(noted(&host(number * 15 + host_of, 9000 + number * 100 + host_of), "new"))
            })
            .collect();
        let request = Request { confirm_within: Some(Duration::from_secs(60)), ..lab.request() };
        lab.commit_as(&edits, request).unwrap();
    }
}

#[test]
fn with_one_byte_flipped_it_serves_what_it_can_prove_and_says_so() {
    let (lab, tables) = history(12);
    flip_bytes(lab, &tables);
}

#[test]
fn with_one_byte_flipped_while_a_revision_waits_it_goes_back_all_the_same() {
    let (mut lab, tables) = history(12);
    pend(&mut lab);
    flip_bytes(lab, &tables);
}

/// The newest of the tables is the one to serve when nothing is lost.
fn flip_bytes(mut lab: Lab, tables: &BTreeMap<RevisionId, Vec<Row>>) {
    let path = lab.path();
    let with_log = files(&path);
    lab.store = None;
    let without_log = files(&path);
    assert!(with_log.keys().any(|name| name.to_str().unwrap().ends_with("-wal")));
    let (newest, table) = tables.last_key_value().unwrap();
    let mut random = Random(0xf11b);
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..rounds(150, 1000) {
        let mut files = if round % 2 == 0 { with_log.clone() } else { without_log.clone() };
        let total: usize = files.values().map(Vec::len).sum();
        let mut at = usize::try_from(random.below(total as u64)).unwrap();
        let flip = u8::try_from(1 + random.below(255)).unwrap();
        for bytes in files.values_mut() {
            if at < bytes.len() {
                bytes[at] ^= flip;
                break;
            }
            at -= bytes.len();
        }
        let (_directory, path) = lay_out(&files);
        let outcome = match proven(&path, tables) {
            None => "refused",
            Some((served, is_told)) => {
                assert!(served == *newest || is_told, "{served} of {newest} without a word");
                match (&tables[&served] == table, is_told) {
                    (true, false) => "nothing",
                    (true, true) => "repaired",
                    (false, _) => "earlier",
                }
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
    assert!(
        ["refused", "repaired", "earlier"].iter().all(|outcome| outcomes.contains_key(outcome)),
        "{outcomes:?}"
    );
}

/// Runs SQL behind the back of a store, and opens it again.
fn alter(lab: &mut Lab, sql: &str) {
    lab.store = None;
    assert_eq!(rusqlite::Connection::open(lab.path()).unwrap().execute(sql, []).unwrap(), 1, "{sql}");
    lab.reopen();
}

/// A flipped byte in the row or the cell, where SQLite itself cannot notice anything. Revision 4 is in force, 5 and 6 wait.
#[test]
fn what_waits_goes_back_also_when_what_it_did_is_damaged() {
    let flipped = "CAST(substr(change, 1, 9) || x'77' || substr(change, 11) AS BLOB)";
    let log = |id| format!("UPDATE changes SET change = {flipped} WHERE revision = {id}");
    let record = |id| format!("UPDATE revisions SET uid = uid + 1 WHERE id = {id}");
    // What of it is damaged, and the last revision before it that is not.
    let of_what_waits = [(log(6), 5), (log(5), 4), (record(6), 5), (record(5), 4)];
    for (sql, served) in of_what_waits {
        let (mut lab, tables) = history(3);
        pend(&mut lab);
        alter(&mut lab, &sql);
        let told = &lab.notices[0];
        assert!(
            matches!(told, Notice::Damaged { served: id, newest, .. } if (id.0, newest.0) == (served, 6)),
            "{sql}: {told}"
        );
        let goes_back = matches!(
            lab.notices[1..],
            [Notice::Reverted { to: RevisionId(4), recorded: Ok(RevisionId(7)), .. }]
        );
        assert_eq!(goes_back, served == 5, "{sql}: {:?}", lab.notices);
        assert_eq!(rows(lab.store()), tables[&RevisionId(4)], "{sql}");
        lab.commit(&[Edit::Add(host(5000, 5000))]);
        lab.reopen();
        assert_eq!(
            (lab.notices.len(), rows(lab.store()).len()),
            (0, tables[&RevisionId(4)].len() + 1),
            "{sql}"
        );
    }
    // What came before says nothing about the way back.
    for sql in [log(4), log(3), record(4), record(3)] {
        let (mut lab, tables) = history(3);
        pend(&mut lab);
        alter(&mut lab, &sql);
        assert!(matches!(lab.notices[..], [Notice::Reverted { .. }]), "{sql}: {:?}", lab.notices);
        assert_eq!(rows(lab.store()), tables[&RevisionId(4)], "{sql}");
    }
    // With both, the last revision that can be proved and waits for nobody serves.
    let (mut lab, tables) = history(3);
    pend(&mut lab);
    lab.store = None;
    rusqlite::Connection::open(lab.path())
        .unwrap()
        .execute_batch(&format!("{}; {}", log(6), log(4)))
        .unwrap();
    lab.reopen();
    assert!(matches!(lab.notices[..], [Notice::Damaged { served: RevisionId(3), .. }]), "{:?}", lab.notices);
    assert_eq!(rows(lab.store()), tables[&RevisionId(3)]);
}

#[test]
fn what_was_saved_from_a_damaged_store_goes_on() {
    let (mut lab, tables) = history(12);
    let path = lab.path();
    lab.store = None;
    let sound = fs::read(&path).unwrap();
    // A note behind an IPv6 prefix of 128 bits: a row of the table, of which SQLite itself cannot notice anything.
    let notes = (1..sound.len() - 4).filter(|at| sound[at - 1] == 128 && &sound[*at..*at + 4] == b"rack");
    let mut bytes = Vec::new();
    for at in notes {
        bytes.clone_from(&sound);
        bytes[at] = b'R';
        fs::write(&path, &bytes).unwrap();
        lab.reopen();
        if !lab.notices.is_empty() {
            break;
        }
        lab.store = None;
    }
    let [Notice::Damaged { kept, served, newest, .. }] = &lab.notices[..] else {
        panic!("{:?}", lab.notices)
    };
    assert_eq!(fs::read(kept).unwrap(), bytes, "the damaged file is as it was");
    assert_eq!(newest, tables.keys().last().unwrap());
    let (served, newest) = (*served, *newest);
    assert_eq!(rows(lab.store()), tables[&served]);
    let id = lab.commit(&[Edit::Add(host(5000, 5000))]).revision().id;
    assert!(id > newest, "no name is given twice");
    lab.rollback(RevisionId(3)).unwrap();
    assert_eq!(rows(lab.store()), tables[&RevisionId(3)]);
    lab.reopen();
    assert_eq!(lab.notices, []);
}

/// Every column of a record is sealed: a damage that SQLite cannot see, and that does not touch the table.
#[test]
fn a_record_that_was_altered_is_not_believed() {
    for (column, value) in
        [("comment", "'no'"), ("uid", "0"), ("time", "7"), ("state", "1"), ("prior", "1"), ("added", "0")]
    {
        for id in [3, 4] {
            let (mut lab, tables) = history(3);
            lab.store = None;
            let sql = format!("UPDATE revisions SET {column} = {value} WHERE id = {id}");
            rusqlite::Connection::open(lab.path()).unwrap().execute(&sql, []).unwrap();
            lab.reopen();
            if id == 4 {
                let [Notice::Damaged { served, newest, .. }] = lab.notices[..] else {
                    panic!("{:?}", lab.notices)
                };
                assert_eq!((served, newest), (RevisionId(3), RevisionId(4)), "{sql}");
                assert_eq!(rows(lab.store()), tables[&served]);
            } else {
                assert_eq!(rows(lab.store()), tables[&RevisionId(4)]);
                assert_eq!(lab.store().history(None, 10).unwrap_err().fault, Fault::Damaged, "{sql}");
                assert!(matches!(lab.rollback(RevisionId(2)), Err(CommitError::Store(_))), "{sql}");
            }
        }
    }
}

#[test]
fn a_database_that_is_gone_is_missed() {
    let (mut lab, _) = history(2);
    lab.store = None;
    fs::remove_file(lab.path()).unwrap();
    let error = open(&lab.path(), &lab.clock).unwrap_err();
    assert_eq!(error.fault, Fault::Gone);
    let text = "no database, though it has been written to more than once ".repeat(100);
    fs::write(lab.path(), text).unwrap();
    assert_eq!(open(&lab.path(), &lab.clock).unwrap_err().fault, Fault::NotAStore);
}

/// What SQLite writes to files without a name is gone with the process.
#[test]
fn files_that_are_removed_or_replaced_while_it_runs_take_no_commit() {
    for name in ["mappings.db", "mappings.db-wal"] {
        let mut lab = Lab::new();
        lab.commit(&[Edit::Add(host(1, 1))]);
        let (path, aside) = (lab.directory.path().join(name), lab.directory.path().join("aside"));
        let copy = fs::read(&path).unwrap();
        for replaced in [false, true] {
            fs::rename(&path, &aside).unwrap();
            if replaced {
                fs::write(&path, &copy).unwrap();
            }
            let request = lab.request();
            let error = lab.commit_as(&[Edit::Add(host(2, 2))], request).unwrap_err();
            let CommitError::Store(error) = error else { panic!("{error}") };
            assert_eq!(error.fault, Fault::Removed);
            assert!(
                error.to_string().contains("removed or replaced") && error.detail.ends_with(name),
                "{error}"
            );
            assert_eq!(lab.store().obstacle(), Some(&error));
            assert_eq!(
                (lab.head(), rows(lab.store())),
                (RevisionId(2), vec![host(1, 1)]),
                "what is in force stays"
            );
            fs::rename(&aside, &path).unwrap();
        }
        lab.commit(&[Edit::Add(host(2, 2))]);
        assert_eq!(lab.store().obstacle(), None);
        lab.reopen();
        assert_eq!((rows(lab.store()).len(), lab.notices.len()), (2, 0));
    }
}

#[test]
fn an_older_copy_is_noticed() {
    let (mut lab, tables) = history(3);
    lab.store = None;
    let old = fs::read(lab.path()).unwrap();
    lab.reopen();
    lab.commit(&[Edit::Add(host(5000, 5000))]);
    lab.store = None;
    fs::write(lab.path(), old).unwrap();
    lab.reopen();
    let (served, newest) = (RevisionId(4), RevisionId(5));
    assert_eq!(lab.notices, [Notice::Lost { served, newest }]);
    assert_eq!(rows(lab.store()), tables[&served]);
    assert_eq!(lab.commit(&[Edit::Add(host(5001, 5001))]).revision().id, RevisionId(6));
}

/// A loss of power during a commit: any part of what was written since the last sync is on disk, in sectors.
#[test]
fn with_a_commit_half_written_it_is_there_or_it_is_not() {
    let (mut lab, _) = history(5);
    let before = files(&lab.path());
    let (old, old_rows) = (lab.head(), rows(lab.store()));
    let edits: Vec<_> = (0..200).map(|number| Edit::Put(host(number, 9000 + number))).collect();
    let new = lab.commit(&edits).revision().id;
    let new_rows = rows(lab.store());
    let after = files(&lab.path());
    let mut random = Random(0x70a7);
    let mut seen = HashSet::new();
    for _ in 0..rounds(100, 1000) {
        let mut mixed = before.clone();
        // From hardly anything to nearly everything.
        let share = random.below(101);
        for (name, bytes) in after.iter().filter(|(name, _)| !name.to_str().unwrap().ends_with("-head")) {
            let old = mixed.entry(name.clone()).or_default();
            old.resize(bytes.len().max(old.len()), 0);
            for (old, new) in old.chunks_mut(512).zip(bytes.chunks(512)) {
                if random.below(100) < share {
                    old[..new.len()].copy_from_slice(new);
                }
            }
        }
        let (_directory, path) = lay_out(&mixed);
        let opened = open(&path, &lab.clock).unwrap();
        assert_eq!(opened.notices, []);
        let head = opened.store.head().id;
        let expected = if head == old { &old_rows } else { &new_rows };
        assert!(head == old || head == new);
        assert_eq!(&rows(&opened.store), expected);
        seen.insert(head);
    }
    assert_eq!(seen.len(), 2, "both were seen");
}

/// A disk that says `synced` and is not: when the power goes, what was written since any earlier moment is there or is not,
/// sector by sector and in each file by itself. Moments are after each commit, before and after the log was taken into the
/// database.
#[test]
fn a_disk_that_lies_about_its_syncs_costs_no_more_than_it_is_told() {
    let (mut lab, mut tables) = history(4);
    let mut moments = vec![files(&lab.path())];
    for number in 100..112 {
        if number % 4 == 0 {
            // The end of a process takes the log into the database, and the next one begins a new log.
            lab.store = None;
            moments.push(files(&lab.path()));
            lab.reopen();
        }
        let edits: Vec<_> = (0..30).map(|host_of| Edit::Put(host(host_of, number * 100 + host_of))).collect();
        let id = lab.commit(&edits).revision().id;
        tables.insert(id, rows(lab.store()));
        moments.push(files(&lab.path()));
    }
    let mut random = Random(0x11e5);
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..rounds(300, 5000) {
        let last = usize::try_from(1 + random.below(moments.len() as u64 - 1)).unwrap();
        let first = usize::try_from(random.below(last as u64 + 1)).unwrap();
        let (shares, is_head_there) = ([0, 50, 97, 100], random.below(2) == 0);
        let mut image = moments[first].clone();
        for (name, bytes) in &moments[last] {
            if name.to_str().unwrap().ends_with("-head") {
                if is_head_there {
                    image.insert(name.clone(), bytes.clone());
                }
                continue;
            }
            let share = shares[usize::try_from(random.below(4)).unwrap()];
            let old = image.entry(name.clone()).or_default();
            // A file may have its new length or its old one, whatever is in it.
            if random.below(2) == 0 {
                old.resize(bytes.len(), 0);
            }
            for (old, new) in old.chunks_mut(512).zip(bytes.chunks(512)) {
                if random.below(100) < share {
                    let length = old.len().min(new.len());
                    old[..length].copy_from_slice(&new[..length]);
                }
            }
        }
        let head = image.iter().find(|(name, _)| name.to_str().unwrap().ends_with("-head"));
        let promised = promised(head.unwrap().1);
        let (_directory, path) = lay_out(&image);
        let outcome = match proven(&path, &tables) {
            None => "refused",
            Some((served, is_told)) => {
                assert!(served >= promised || is_told, "{served} of {promised} without a word");
                match (served >= promised, is_told) {
                    (true, false) => "as promised",
                    (true, true) => "repaired",
                    (false, _) => "earlier",
                }
            }
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
    let all = ["refused", "as promised", "repaired", "earlier"];
    assert!(all.iter().all(|outcome| outcomes.contains_key(outcome)), "{outcomes:?}");
}

/// The newest revision that the line beside the database names.
fn promised(head: &[u8]) -> RevisionId {
    let text = std::str::from_utf8(head).unwrap();
    RevisionId(text.split_whitespace().find_map(|word| word.parse().ok()).unwrap())
}

/// The log cannot grow beyond a limit: each size fails another write.
#[test]
fn a_write_that_fails_changes_nothing() {
    let (mut refused, mut went_on) = (0, 0);
    for kib in (4..rounds(120, 400)).step_by(4) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mappings.db");
        drop(open(&path, &ManualClock::new(noon())).unwrap());
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
        let mut bash = Command::new("bash");
        let child =
            command(bash.args(["-c", &script, "-"]).arg(myself()).args(ARGUMENTS), &path, "starve|25");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{kib} KiB: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        refused += text.matches("\nrefused").count();
        let said = listen(text.lines().map(str::to_owned));
        let opened = open(&path, &ManualClock::new(noon())).unwrap();
        let Some((id, digest, state)) = said.acknowledged.last() else { continue };
        went_on += 1;
        let head = opened.store.head();
        if state == "pending" {
            assert!(
                matches!(opened.notices[..], [Notice::Reverted { .. }]),
                "{kib} KiB: {:?}",
                opened.notices
            );
            assert_eq!(head.parent, Some(*id));
        } else {
            assert_eq!((head.id, head.digest, opened.notices.len()), (*id, *digest, 0), "{kib} KiB");
        }
    }
    assert!(refused > 50 && went_on > 5, "{refused} refused, {went_on} went on");
}

/// Runs a child on a disk of 2 MB, in a mount namespace of its own. What it said.
fn on_a_small_disk(task: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().display().to_string();
    let script = "mount -t tmpfs -o size=2m store \"$0\" && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c", script, &mount]).arg(myself()).args(ARGUMENTS);
    let task = format!("{task}|{mount}/ballast");
    let output =
        command(&mut unshare, &directory.path().join("mappings.db"), &task).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\nend"), "{text}");
    text
}

#[test]
fn a_full_disk_refuses_and_room_is_enough_to_go_on() {
    let text = on_a_small_disk("fill");
    assert!(text.contains("the disk is full: free space on its file system"), "{text}");
}

#[test]
fn a_full_disk_keeps_nobody_from_going_back() {
    on_a_small_disk("owe");
}

#[test]
fn one_process_at_a_time() {
    let mut lab = Lab::new();
    lab.commit(&[Edit::Add(host(1, 1))]);
    let started = Instant::now();
    let path = lab.path();
    let mut sqlite = Command::new(myself());
    let child = command(sqlite.args(ARGUMENTS), &path, "starve|1").wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(text.contains("refused open Locked") && text.contains("another process has it locked"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(60));
    lab.commit(&[Edit::Add(host(2, 2))]);
}

#[test]
fn what_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = open(&directory.path().join("nowhere/mappings.db"), &ManualClock::new(noon())).unwrap_err();
    assert_eq!(error.fault, Fault::NoDirectory, "{error}");
    let error = open(directory.path(), &ManualClock::new(noon())).unwrap_err();
    assert!(matches!(error.fault, Fault::Permission | Fault::Io), "{error}");
}

//! Reloads from files, as a relay does them.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use dataplane::table::eam::Eam;
use tempfile::TempDir;

use super::*;

const BASE: &str = "eam_files = [\"eams.csv\"]\n[dpdk]\nworkers = [1]\nmemory = \"no-huge\"\n\
    [[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\n";
const EAMS: &str = "192.0.2.1,2001:db8::1\n192.0.2.2,2001:db8::2\n192.0.2.3,2001:db8::3\n";

/// A configuration in a directory of its own, and the relay that started with it.
struct Relay {
    directory: TempDir,
    running: Running,
}

impl Relay {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("relay.toml");
        fs::write(&path, BASE).unwrap();
        fs::write(directory.path().join("eams.csv"), EAMS).unwrap();
        let (mut config, _) = Config::load(&path).unwrap();
        let running = Running::start(&path, &mut config, None, None).unwrap();
        assert_eq!(running.translation().eams.len(), 3);
        Self { directory, running }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn prepare(&mut self) -> Result<Prepared, ReloadError> {
        let loaded = load(self.running.path());
        self.running.prepare(loaded).map(|(prepared, _)| prepared)
    }

    fn refused(&mut self) -> String {
        match self.prepare() {
            Err(error) => error.to_string(),
            Ok(_) => panic!("not refused"),
        }
    }
}

#[test]
fn new_files_give_new_tables_and_say_what_changed() {
    let mut relay = Relay::start();
    relay.write("eams.csv", "192.0.2.2,2001:db8::22\n192.0.2.3,2001:db8::3\n192.0.2.4,2001:db8::4\n");
    relay.write("relay.toml", &format!("{BASE}anti_spoof = false\n"));
    let prepared = relay.prepare().unwrap();
    assert_eq!(prepared.changes, ChangeCounts { added: 1, removed: 1, changed: 1 });
    assert_eq!((prepared.eams, prepared.way), (3, Way::Built));
    let lookup = |host| {
        let mapped = prepared.translation.eams.lookup_ipv4(Ipv4Addr::new(192, 0, 2, host));
        mapped.map(|mapped| mapped.address.to_string())
    };
    assert_eq!([lookup(1), lookup(2)], [None, Some("2001:db8::22".to_owned())]);
    assert_eq!([lookup(3), lookup(4)], [Some("2001:db8::3".to_owned()), Some("2001:db8::4".to_owned())]);
    assert!(!prepared.translation.settings.anti_spoof);
    let again = relay.prepare().unwrap();
    assert_eq!(
        again.changes,
        ChangeCounts::default(),
        "what was prepared is what the next one is compared with"
    );
    assert_eq!(again.way, Way::Applied);
}

#[test]
fn every_problem_of_wrong_files_is_told() {
    let mut relay = Relay::start();
    relay.write("eams.csv", &format!("{EAMS}192.0.2.1,2001:db8::9\n192.0.2.256,2001:db8::5\n"));
    relay.write("relay.toml", &format!("{BASE}hairpin = \"no\"\n"));
    let Err(ReloadError::Problems(problems)) = relay.prepare() else {
        panic!("wrong files are refused with their problems")
    };
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for words in
        [["relay.toml:10:", "hairpin"], ["eams.csv:4:", "already mapped"], ["eams.csv:5:", "192.0.2.256"]]
    {
        assert!(
            texts.iter().any(|text| words.iter().all(|word| text.contains(word))),
            "{words:?}: {texts:#?}"
        );
    }
    relay.write("relay.toml", "[[[");
    assert!(relay.refused().contains("correct them and reload again"));
}

#[test]
fn what_a_running_relay_cannot_change_is_refused_by_name() {
    let mut relay = Relay::start();
    relay.write("relay.toml", &BASE.replace("[1]", "[1, 2]").replace("net_null0", "net_null1"));
    let message = relay.refused();
    for word in ["dpdk.workers", "port.device of port v4", "restart it"] {
        assert!(message.contains(word), "{word} is missing in {message:?}");
    }
}

#[test]
fn a_refused_reload_leaves_the_relay_as_it_was_and_the_next_one_may_succeed() {
    let mut relay = Relay::start();
    relay.write("eams.csv", "nonsense\n");
    assert!(relay.prepare().is_err());
    relay.write("eams.csv", "192.0.2.1,2001:db8::1\n");
    assert_eq!(relay.prepare().unwrap().changes.removed, 2, "compared with what the relay started with");
}

#[test]
fn a_reload_that_removes_much_is_refused_until_it_is_asked_for() {
    let mut relay = Relay::start();
    relay.write("eams.csv", "");
    let message = relay.refused();
    for words in ["remove 3 of 3 mappings", "more than the 2", "still in force", "reload_may_remove = 3"] {
        assert!(message.contains(words), "{words} is missing in {message:?}");
    }
    assert_eq!(relay.running.translation().eams.len(), 3);
    relay.write("relay.toml", &format!("{BASE}reload_may_remove = 3\n"));
    assert_eq!(relay.prepare().unwrap().changes.removed, 3);
}

#[test]
fn a_tenth_is_at_least_ten_at_most_a_thousand_and_never_all() {
    use config::MayRemove::{All, Number, Tenth};
    for (mappings, allowed) in
        [(0, 0), (1, 0), (2, 1), (11, 10), (100, 10), (150, 15), (9_000, 900), (1_000_000, 1000)]
    {
        assert_eq!(Tenth.of(mappings), allowed, "{mappings}");
    }
    assert_eq!((Number(5).of(2), All.of(7)), (5, usize::MAX));
}

/// Keeps one mapping, and what it was told; or a disk that cannot be read.
struct Other {
    told: Arc<Mutex<Vec<usize>>>,
    broken: Arc<AtomicBool>,
}

impl MappingSource for Other {
    fn check(&self, files: &Eams) -> Result<(), Problems> {
        let taken = files.iter().position(|eam| eam.ipv4.to_string() == "192.0.2.9/32");
        let Some(row) = taken else { return Ok(()) };
        let mut problems = Problems::default();
        let kind = config::ProblemKind::NotUtf8;
        problems.push(config::Problem { place: files.place(row), key: "eam".to_owned(), value: None, kind });
        Err(problems)
    }

    fn rows(&self) -> Result<Vec<Eam>, String> {
        if self.broken.load(Ordering::Relaxed) {
            return Err("the disk refuses".to_owned());
        }
        Ok(vec![Eam { ipv4: "192.0.2.9/32".parse().unwrap(), ipv6: "2001:db8::9/128".parse().unwrap() }])
    }

    fn accept(&mut self, files: Eams, _: &config::Translation) {
        self.told.lock().unwrap().push(files.len());
    }
}

#[test]
fn mappings_kept_elsewhere_survive_reloads_and_are_asked_first() {
    let Relay { directory, .. } = Relay::start();
    let path = directory.path().join("relay.toml");
    let (mut config, _) = Config::load(&path).unwrap();
    let (told, broken) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::<AtomicBool>::default());
    let other = Box::new(Other { told: Arc::clone(&told), broken: Arc::clone(&broken) });
    let running = Running::start(&path, &mut config, Some(other), None).unwrap();
    let mut relay = Relay { directory, running };
    let has =
        |relay: &Relay| relay.running.translation().eams.lookup_ipv4(Ipv4Addr::new(192, 0, 2, 9)).is_some();
    assert!(has(&relay));
    relay.write("relay.toml", &format!("{BASE}anti_spoof = false\n"));
    let prepared = relay.prepare().unwrap();
    assert_eq!((prepared.way, prepared.eams, has(&relay)), (Way::Built, 4, true), "built of both");
    relay.write("eams.csv", &format!("{EAMS}192.0.2.4,2001:db8::4\n"));
    let prepared = relay.prepare().unwrap();
    assert_eq!((prepared.way, prepared.eams, has(&relay)), (Way::Applied, 5, true), "changed around them");
    relay.write("eams.csv", &format!("{EAMS}192.0.2.9,2001:db8::10\n"));
    assert!(matches!(relay.prepare(), Err(ReloadError::Problems(_))), "the other one was asked");
    assert_eq!(*told.lock().unwrap(), [3, 3, 4], "told of what was accepted");
    broken.store(true, Ordering::Relaxed);
    relay.write("eams.csv", EAMS);
    relay.write("relay.toml", &format!("{BASE}anti_spoof = true\n"));
    assert!(matches!(relay.prepare(), Err(ReloadError::Source(_))), "no tables without those it cannot read");
    assert!(has(&relay), "and those there are stay");
}

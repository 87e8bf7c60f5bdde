//! Every verb of `borderctl` on a running relay: right and wrong, for people and for programs.
//!
//! The verbs are those of the man pages that the program writes. One that is not asked rightly, as JSON and wrongly here
//! fails the test.
#![allow(clippy::panic, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use pktgen_tests::lab::{Cmd, Lab, Need, Output, Shape, TestResult, borderctl, skip_unless};
use serde_json::Value;
use tempfile::TempDir;

/// How a command line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Exit 0; the words are in what people read.
    Good,
    /// Exit 0; each line is JSON, and the words are keys of the first, as `a/b`.
    Json,
    /// Exit 1; the words are in the reason. The same as JSON has a message and a remedy.
    Refused,
    /// Exit 2, by the command line alone; the words are in the hint.
    Usage,
}

use End::{Good, Json, Refused, Usage};

type Step = (End, &'static str, &'static [&'static str]);

/// In this order: each begins on what those before it left. FILES is a directory.
const STEPS: &[Step] = &[
    (Good, "status", &["health     ok", "mappings   1", "v4    up"]),
    (
        Json,
        "status",
        &[
            "version",
            "uptime_seconds",
            "revision/id",
            "revision/digest",
            "eams",
            "health",
            "ports",
            "workers",
        ],
    ),
    (Usage, "status --watch 0", &["--watch"]),
    // Mappings, staged and committed.
    (Good, "eam add --auto 2001:db8:12:34::2 --stage", &["192.0.2.2/32"]),
    (Good, "status", &["1 change staged"]),
    (Good, "check", &["0 problems"]),
    (Json, "check", &["candidate", "eams", "problems", "warnings"]),
    (Usage, "check everything", &["unexpected argument"]),
    (Good, "diff", &["+ 192.0.2.2/32 = 2001:db8:12:34::2/128"]),
    (Json, "diff", &["base", "diff/added_eams/0/ipv4", "stale"]),
    (Refused, "diff 77", &["77", "history"]),
    (Usage, "diff 3-5", &["3-5"]),
    (Good, "commit --comment staged", &["revision 2: 1 added"]),
    (Refused, "commit", &["nothing is staged", "--stage"]),
    (Usage, "commit --confirm-within soon", &["60s"]),
    (Good, "diff 1..2", &["+ 192.0.2.2/32"]),
    (Json, "eam add 192.0.2.3 2001:db8:12:34::3 --comment web", &["revision/id", "revision/added"]),
    (Refused, "eam add 192.0.2.1 2001:db8::9", &["borderline.toml, line", "reload"]),
    (
        Refused,
        "eam add 192.0.2.2 2001:db8::9",
        &["in 192.0.2.2/32 = 2001:db8:12:34::2/128 (the store)", "--replace"],
    ),
    (
        Refused,
        "eam add 192.0.2.9 2001:db8:12:34::2",
        &["IPv6 prefix is also in 192.0.2.2/32", "remove that one first"],
    ),
    (Refused, "eam add 224.0.0.5 2001:db8::9", &["never translated"]),
    (Refused, "eam add 192.0.2.300 2001:db8::9", &["192.0.2.300", "write it as"]),
    (Refused, "eam add 192.0.2.9 2001:db8::9 --on 1", &["revision 1", "--on"]),
    (Usage, "eam add 192.0.2.9", &["IPv6"]),
    (Good, "eam get 192.0.2.1", &["2001:db8:12:34::1/128"]),
    (Json, "eam get 192.0.2.3", &["ipv4", "ipv6", "owner", "comment"]),
    (Refused, "eam get 192.0.2.77", &["not mapped", "lookup"]),
    (Usage, "eam get", &["PREFIX"]),
    (Good, "eam list", &["192.0.2.1/32", "config", "192.0.2.3/32", "web"]),
    (Json, "eam list", &["ipv4", "ipv6", "owner", "comment"]),
    (Refused, "eam list --within 192.0.2.0/33", &["192.0.2.0/33"]),
    (Usage, "eam list --limit many", &["many"]),
    (Good, "eam lookup 192.0.2.1", &["by the mapping", "2001:db8:12:34::1"]),
    (Good, "eam lookup 203.0.113.50", &["2001:db8:46::cb00:7132", "translation prefix"]),
    (Json, "eam lookup 192.0.2.1", &["address"]),
    (Usage, "eam lookup nobody", &["nobody"]),
    (
        Good,
        "eam export",
        &[
            "ipv4,ipv6,comment",
            "192.0.2.1/32,2001:db8:12:34::1/128",
            "192.0.2.3/32,2001:db8:12:34::3/128,web",
        ],
    ),
    (Json, "eam export", &["ipv4", "ipv6"]),
    (Refused, "eam export --within nonsense", &["nonsense"]),
    (Usage, "eam export --format xml", &["--format"]),
    (Good, "eam counters", &["192.0.2.1/32"]),
    (Good, "eam counters --format csv", &["ipv4,", "192.0.2.1/32,"]),
    (Json, "eam counters", &["ipv4", "ipv6"]),
    (Usage, "eam counters --format xml", &["csv"]),
    (Good, "eam import FILES/eams.csv --replace --stage", &["1 added, 1 removed, 1 changed"]),
    (Good, "diff", &["+ 192.0.2.2/32 = 2001:db8:56:78::2/128", "- 192.0.2.3/32"]),
    (Json, "discard", &["diff/changed_eams/0/from"]),
    (Refused, "eam import FILES/none.csv", &["none.csv", "No such file"]),
    (Refused, "eam import FILES/wrong.csv", &["line 3", "192.0.2.256"]),
    (Usage, "eam import", &["FILE"]),
    (Json, "eam import FILES/more.csv", &["revision/id"]),
    (Good, "eam remove 192.0.2.3 --stage", &["1 removed"]),
    (Good, "discard", &["1 removed"]),
    (Json, "eam add 192.0.2.6 2001:db8:12:34::6 --stage", &["added", "staged"]),
    (Json, "commit", &["revision/id", "revision/added"]),
    (Usage, "discard everything", &["unexpected argument"]),
    (Json, "eam remove 192.0.2.40", &["revision/removed"]),
    (Refused, "eam remove 192.0.2.77", &["not mapped", "eam list"]),
    (Refused, "eam remove 192.0.2.1", &["borderline.toml, line", "reload"]),
    (Usage, "eam remove", &["PREFIX"]),
    // Commits on trial, and the way back.
    (Good, "eam add 192.0.2.4 2001:db8:12:34::4 --confirm-within 1h", &["unless confirmed"]),
    (Refused, "eam add 192.0.2.5 2001:db8:12:34::5", &["confirm"]),
    (Good, "confirm --comment seen", &["revision 7 stays"]),
    (Refused, "confirm", &["nothing awaits"]),
    (Good, "confirm 7", &["revision 7 stays", "confirmed before"]),
    (Usage, "confirm soon", &["invalid value"]),
    (Good, "eam add 192.0.2.5 2001:db8:12:34::5 --confirm-within 1h", &["unless confirmed"]),
    (Json, "confirm", &["id", "confirmed", "confirmed_by"]),
    (Good, "rollback 2 --comment undone", &["removed"]),
    (Json, "rollback 7", &["revision/id"]),
    (Refused, "rollback 77", &["77", "history"]),
    (Usage, "rollback", &["ID"]),
    (Good, "history", &["staged", "undone", "active"]),
    (
        Json,
        "history",
        &["id", "parent", "time", "uid", "comment", "added", "removed", "changed", "digest", "state"],
    ),
    (Usage, "history --limit many", &["many"]),
    // The machine.
    (Good, "pool show", &["192.0.2.0/24"]),
    (Json, "pool show", &["pools/0/prefix", "pools/0/free", "pools/0/next_free"]),
    (Usage, "pool", &["show"]),
    (Usage, "pool show all", &["unexpected argument"]),
    (Good, "ports", &["bl-v4", "bl-v6", "net_af_xdp"]),
    (Json, "ports", &["ports/0/name", "ports/1/missed"]),
    (Usage, "ports --watch never", &["never"]),
    (Good, "workers", &["BUSY CYCLES"]),
    (Json, "workers", &["workers/0/cpu", "workers/0/load"]),
    (Usage, "workers 1", &["unexpected argument"]),
    (Good, "routes", &["203.0.113.0/24", "bl-v4"]),
    (Json, "routes --limit 2", &["routes/1/destination", "total"]),
    (Usage, "routes --limit none", &["none"]),
    (Good, "neighbors", &["203.0.113.50", "2001:db8:12:34::1"]),
    (Json, "neighbors", &["neighbors/0/address", "neighbors/0/state"]),
    (Usage, "neighbors 203.0.113.50", &["unexpected argument"]),
    (Good, "counters", &["received", "events.translated_v4_to_v6"]),
    (Json, "counters", &["received", "dropped"]),
    (Usage, "counters reset", &["unexpected argument"]),
    (Good, "top --once", &["RX PPS", "192.0.2.1/32"]),
    (Json, "top --once", &["ports", "workers"]),
    (Usage, "top --interval 0", &["--interval"]),
    // Packets; one was dropped for a service address without a mapping.
    (Good, "drops", &["unassigned_service_address", "1"]),
    (Good, "drops --last 1 --reason unassigned_service_address", &["192.0.2.77"]),
    (Json, "drops", &["reason"]),
    (Refused, "drops --last 1 --reason bad_luck", &["bad_luck"]),
    (Usage, "drops --last 0", &["--last"]),
    (
        Good,
        "explain --src 203.0.113.50 --dst 192.0.2.1 --dport 443",
        &["RFC 7757", "2001:db8:12:34::1", "translated"],
    ),
    (Json, "explain --src 203.0.113.50 --dst 192.0.2.77 --dport 443", &["verdict", "phases"]),
    (Refused, "explain --hex 45zz", &["hexadecimal", "give pairs"]),
    (Usage, "explain --src 203.0.113.50", &["--dst"]),
    (Good, "capture --filter 'host 198.51.100.99' --seconds 1 -w FILES/none.pcapng", &["0 packets written"]),
    (
        Json,
        "capture --filter 'host 198.51.100.99' --seconds 1 -w FILES/none.pcapng",
        &["captured", "lost", "cause"],
    ),
    (Refused, "capture --filter 'host nobody' -w FILES/none.pcapng", &["nobody"]),
    (Usage, "capture --filter tcp", &["--write"]),
    (Good, "trace --paths --seconds 1", &["PACKETS", "PATH"]),
    (Json, "trace --paths --seconds 1", &["paths"]),
    (Refused, "trace --filter 'verdict maybe'", &["maybe"]),
    (Usage, "trace --seconds 0", &["--seconds"]),
    // In service and out of it.
    (Good, "health", &["pipeline", "passing", "control_loop"]),
    (Json, "health", &["tests"]),
    (Usage, "health good", &["unexpected argument"]),
    (Good, "digest", &["digest"]),
    (Json, "digest", &["digest"]),
    (Refused, "digest --compare FILES/nobody.sock", &["nobody.sock"]),
    (Usage, "digest here there", &["unexpected argument"]),
    (Good, "drain --lead 0s --no-wait", &["no routes any more"]),
    (Json, "drain --lead 0s --no-wait", &["drain"]),
    (Usage, "drain --lead soon", &["soon"]),
    (Good, "undrain", &[]),
    (Json, "undrain", &["tests"]),
    (Usage, "undrain now", &["unexpected argument"]),
    (Good, "reload", &["mappings"]),
    (Json, "reload", &["eams", "added", "removed"]),
    (Usage, "reload FILES/other.toml", &["unexpected argument"]),
    (Good, "events --count 1", &["revision"]),
    (Json, "events --count 1", &["event"]),
    (Usage, "events --count all", &["all"]),
    (Good, "version", &["API v1"]),
    (Json, "version", &["borderctl/version", "relay/api/min", "relay/build"]),
    (Usage, "version 2", &["unexpected argument"]),
];

/// The words of a command line, as a shell parts them.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let split = |(number, part): (usize, &str)| match number % 2 {
        1 => vec![part.to_owned()],
        _ => part.split_whitespace().map(ToOwned::to_owned).collect(),
    };
    parts.flat_map(split).collect()
}

/// The verbs there are, in the words that ask for them.
fn verbs(files: &TempDir) -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let program = borderctl().expect("it is built with the relay").display().to_string();
    let written = Cmd::new(&program).arg("generate").arg(files.path().display().to_string()).run()?;
    assert!(written.success(), "{}", written.text());
    let mut pages = BTreeSet::new();
    for page in fs::read_dir(files.path().join("man"))? {
        let name = page?.file_name().into_string().expect("UTF-8");
        let name =
            name.trim_end_matches(".1").trim_start_matches("borderctl").trim_start_matches('-').to_owned();
        pages.insert(name);
    }
    // The pages of several verbs together are no verbs.
    let is_one = |page: &&String| !pages.iter().any(|other| other.starts_with(&format!("{page}-")));
    Ok(pages
        .iter()
        .filter(is_one)
        .filter(|page| !page.is_empty())
        .map(|page| page.replace('-', " "))
        .collect())
}

struct Asked {
    lab: Lab,
    files: TempDir,
}

impl Asked {
    fn up() -> Result<Self, Box<dyn std::error::Error>> {
        let files = tempfile::tempdir()?;
        let path = |name: &str| files.path().join(name);
        let sections = format!(
            "\n[control]\nsocket = \"{}\"\nstore = \"{}\"\n\n[metrics]\nmappings = \"exact\"\n",
            path("control.sock").display(),
            path("mappings.db").display()
        );
        let translation = format!("{}{sections}", Shape::default().translation);
        let lab = Lab::up(&Shape { translation, ..Shape::default() })?;
        fs::write(
            path("eams.csv"),
            "ipv4,ipv6\n192.0.2.2,2001:db8:56:78::2\n192.0.2.30,2001:db8:56:78::30\n",
        )?;
        fs::write(path("more.csv"), "ipv4;ipv6\n192.0.2.40;2001:db8:56:78::40\n")?;
        fs::write(path("wrong.csv"), "ipv4,ipv6\n192.0.2.41,2001:db8::41\n192.0.2.256,2001:db8::42\n")?;
        Ok(Self { lab, files })
    }

    fn run(&self, line: &str) -> Result<Output, pktgen_tests::lab::LabError> {
        let program = borderctl().expect("it is built with the relay").display().to_string();
        let socket: PathBuf = self.files.path().join("control.sock");
        let line = line.replace("FILES", &self.files.path().display().to_string());
        let cmd = Cmd::new(&program).arg("--socket").arg(socket.display().to_string()).timeout(60);
        words(&line).into_iter().fold(cmd, Cmd::arg).run()
    }

    /// What is wrong with how a step ends.
    fn step(&self, (end, line, words): Step) -> Result<Option<String>, pktgen_tests::lab::LabError> {
        let as_json = |line: &str| self.run(&format!("--json {line}"));
        let output = if end == Json { as_json(line)? } else { self.run(line)? };
        let status = match end {
            Good | Json => 0,
            Refused => 1,
            Usage => 2,
        };
        if output.status.code() != Some(status) {
            return Ok(Some(format!("exit {:?}, not {status}: {}", output.status.code(), output.text())));
        }
        let said = match end {
            Good | Json => &output.stdout,
            Refused | Usage => &output.stderr,
        };
        if end == Json {
            return Ok(wrong_json(said, words));
        }
        if let Some(word) = words.iter().find(|word| !said.contains(**word)) {
            return Ok(Some(format!("{word:?} is missing in {said}")));
        }
        if end == Refused {
            let told = as_json(line)?;
            let refusal: Value = serde_json::from_str(&told.stderr).unwrap_or_default();
            let is_whole = refusal["message"].is_string() && refusal["remedy"].is_string();
            if told.status.code() != Some(1) || !told.stdout.is_empty() || !is_whole {
                return Ok(Some(format!("for programs: {}", told.text())));
            }
        }
        Ok(None)
    }
}

fn wrong_json(said: &str, keys: &[&str]) -> Option<String> {
    let values: Result<Vec<Value>, _> = said.lines().map(serde_json::from_str).collect();
    let Ok(values) = values else { return Some(format!("is no JSON by lines: {said}")) };
    let first = match values.first()? {
        Value::Array(list) => list.first()?,
        other => other,
    };
    let missing = keys.iter().find(|key| first.pointer(&format!("/{key}")).is_none())?;
    Some(format!("{missing:?} is missing in {first}"))
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn every_verb_answers_right_and_wrong_for_people_and_programs() -> Result<(), Box<dyn std::error::Error>> {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut asked = Asked::up()?;
    assert!(asked.lab.pings(&asked.lab.client, "192.0.2.1"));
    asked.lab.client.cmd("ping").args("-n -c1 -W1 192.0.2.77").run()?;
    let mut ends: BTreeMap<String, BTreeSet<End>> = BTreeMap::new();
    let verbs = verbs(&asked.files)?;
    let mut wrong = Vec::new();
    for step in STEPS {
        if let Some(why) = asked.step(*step)? {
            wrong.push(format!("borderctl {} ({:?}): {why}", step.1, step.0));
        }
        if let Some(verb) = verbs.iter().find(|verb| format!("{} ", step.1).starts_with(&format!("{verb} ")))
        {
            ends.entry(verb.clone()).or_default().insert(step.0);
        }
    }
    for verb in &verbs {
        let ends = ends.remove(verb).unwrap_or_default();
        let is_asked = ends.contains(&Good)
            && ends.contains(&Json)
            && (ends.contains(&Refused) || ends.contains(&Usage));
        if !is_asked {
            wrong.push(format!("borderctl {verb} is only asked for {ends:?}"));
        }
    }
    assert!(verbs.len() > 30, "{verbs:?}");
    assert!(wrong.is_empty(), "{} of {} steps:\n{}", wrong.len(), STEPS.len(), wrong.join("\n"));
    Ok(asked.lab.assert_healthy()?)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_reload_that_is_wrong_is_refused_with_the_value() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut asked = Asked::up().expect("the laboratory is up");
    let toml = asked.lab.config.to_toml();
    asked.run("eam add 192.0.2.2 2001:db8:12:34::2")?;
    for (broken, words) in [
        (toml.replace("192.0.2.0/24", "192.0.2.300/24"), ["192.0.2.300/24", "goes on as before"]),
        // A mapping of the store may not come a second time by a file.
        (
            format!("{toml}\n[[eam]]\nipv4 = \"192.0.2.2\"\nipv6 = \"2001:db8::77\"\n"),
            ["192.0.2.2/32", "the store"],
        ),
    ] {
        asked.lab.relay().rewrite(&broken)?;
        let refused = asked.run("reload")?;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.text());
        for word in words {
            assert!(refused.stderr.contains(word), "{word:?} is missing in {}", refused.stderr);
        }
    }
    assert!(asked.lab.pings(&asked.lab.client, "192.0.2.1"));
    asked.lab.assert_healthy()
}

//! The log: the events in the documentation are those of the code, and in JSON every line is an object.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use common::BORDERLINE;

/// Where events come from.
const SOURCES: [&str; 4] = ["src", "control/src", "control/server/src", "dataplane/src"];
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// Every file of Rust under a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let inside = entries.map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    inside.flatten().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The arguments of a macro whose opening parenthesis stands before `text`.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    let mut found = vec![String::new()];
    for mark in text.chars() {
        match mark {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        found.last_mut().unwrap().push(mark);
    }
    found
        .into_iter()
        .map(|argument| argument.trim().to_owned())
        .filter(|argument| !argument.is_empty())
        .collect()
}

/// A string as it is printed: broken lines joined, names of what is put in left out.
fn message(literal: &str) -> String {
    let mut text = String::new();
    for line in literal.trim_matches('"').split("\\\n") {
        text.push_str(if text.is_empty() { line } else { line.trim_start() });
    }
    let mut shown = String::new();
    let mut depth = 0;
    for mark in text.chars() {
        depth += i32::from(mark == '{');
        if depth == 0 || mark == '{' {
            shown.push(mark);
        }
        if mark == '}' {
            depth -= 1;
            shown.push('}');
        }
    }
    shown
}

/// A line of the table for each event in the code.
fn events() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut events = BTreeSet::new();
    for path in SOURCES.iter().flat_map(|source| files(&root.join(source))) {
        let text = fs::read_to_string(path).unwrap();
        for level in LEVELS {
            let call = format!("tracing::{level}!(");
            for (at, _) in text.match_indices(&call) {
                let all = arguments(&text[at + call.len()..]);
                let (fields, rest): (Vec<&String>, Vec<&String>) =
                    all.iter().partition(|argument| !argument.starts_with('"'));
                let Some(literal) = rest.first() else { continue };
                let name = |field: &&String| {
                    let name = field.split(['=', '.']).next().unwrap_or_default();
                    name.trim().trim_start_matches(['%', '?']).to_owned()
                };
                // What comes behind the message is put into it.
                let before = all.iter().position(|argument| argument.starts_with('"')).unwrap_or(0);
                let names: Vec<String> =
                    fields.iter().take(before).map(|field| format!("`{}`", name(field))).collect();
                let message = message(literal).replace('|', "\\|");
                events.insert(format!("| {} | {message} | {} |", level.to_uppercase(), names.join(", ")));
            }
        }
    }
    events
}

#[test]
fn the_documentation_lists_every_event_with_its_fields() {
    const BEGIN: &str = "<!-- events begin -->\n";
    const END: &str = "<!-- events end -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let events = events();
    assert!(events.len() > 20, "{events:?}");
    assert!(
        events.iter().any(|event| event.contains("| started | `ports`, `workers`, `eams` |")),
        "{events:#?}"
    );
    let rows: Vec<String> = events.into_iter().collect();
    let expected = format!("| Level | Message | Fields |\n| --- | --- | --- |\n{}\n", rows.join("\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "names are a contract; UPDATE_DOCS=1 writes docs/log.md anew");
}

/// What a line says, which must be a flat object with a time and a level.
#[track_caller]
fn message_of(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned();
    assert!(text("time").ends_with('Z') && text("time").contains('T'), "{line}");
    assert!(["ERROR", "WARN", "INFO"].contains(&text("level").as_str()), "{line}");
    text("message")
}

const CONFIG: &str = "[dpdk]\nworkers = [0]\nmemory = \"no-huge\"\nmemory_mb = 64\n[[port]]\nname = \"bltest\"\n\
    device = \"net_null0,no-rx=1\"\n[translation]\nprefixes = [\"2001:db8:46::/96\"]\n";

#[test]
fn a_wrong_configuration_is_one_line_with_all_problems() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    fs::write(&path, CONFIG.replace("bltest", "a name\\u001b[2J").replace("/96", "/97")).unwrap();
    let output = Command::new(BORDERLINE)
        .args(["run", "--log-format", "json", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    let messages: Vec<String> = text.lines().map(message_of).collect();
    assert!(messages.contains(&"the configuration is wrong".to_owned()), "{text}");
    let problems = text.lines().find(|line| line.contains("problems")).unwrap();
    assert!(problems.contains("port.name") && problems.contains("translation.prefixes"), "{problems}");
}

#[test]
fn every_line_of_a_run_is_an_object() {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        let required = std::env::var("BORDERLINE_REQUIRE_E2E").is_ok_and(|value| value == "1");
        assert!(!required, "may not be skipped here: needs root");
        writeln!(std::io::stderr(), "SKIPPED: needs root").ok();
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    // The configuration chooses, for no terminal is there and nobody says otherwise.
    fs::write(&path, format!("{CONFIG}[log]\nformat = \"json\"\n")).unwrap();
    let mut child = Command::new("unshare")
        .args(["--net", "--", BORDERLINE, "run", "--config"])
        .arg(&path)
        .env_remove("BORDERLINE_LOG_FORMAT")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |name: &str, pid: u32| {
        assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
    };
    let mut messages = Vec::new();
    let started = Instant::now();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let message = message_of(&line.unwrap());
        match message.as_str() {
            "translating" => signal("USR1", child.id()),
            "counters" if !messages.contains(&message) => signal("TERM", child.id()),
            _ => {}
        }
        messages.push(message);
        assert!(started.elapsed() < Duration::from_secs(60), "{messages:?}");
    }
    assert!(child.wait().unwrap().success(), "{messages:?}");
    for expected in ["port opened", "started", "translating", "counters", "stopping"] {
        assert!(messages.iter().any(|message| message == expected), "{expected} in {messages:?}");
    }
}

//! Old and new together: what an earlier `borderctl` asked and what an earlier relay answered, recorded, against those of today.
//!
//! `tests/exchanges/VERSION.jsonl` has one exchange a line, made by `RECORD_EXCHANGES=VERSION cargo test -p borderctl --test cli
//! exchanges` on the commit of a release, and never changed afterwards. A recording is what crosses the socket between two
//! programs, so it stands for both of them: played to today's relay it is the older client, and played by a stand-in to today's
//! client it is the older relay. Neither has to be built again, which would take longer than all other tests together.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lab::{Lab, Run, run};

/// What is recorded, in this order, on a relay that is new.
const LINES: &[&str] = &[
    "version",
    "status",
    "eam list",
    "eam add 192.0.2.1 2001:db8::1 --comment 'web, one'",
    "eam add --auto 2001:db8::2",
    "eam add 198.51.100.1 2001:db8::3",
    "eam add 192.0.2.1 2001:db8::9 --replace",
    "eam add 192.0.2.1 2001:db8::4",
    "eam add 192.0.2.4 nonsense",
    "eam add 192.0.2.5 2001:db8::5 --on 1",
    "eam get 192.0.2.1",
    "eam get 192.0.2.99",
    "eam lookup 192.0.2.1",
    "eam lookup 198.51.100.77",
    "eam lookup 2001:db8:46::1",
    "eam remove 192.0.2.10",
    "eam remove 198.51.100.1",
    "eam import rows.csv",
    "eam import bad.csv",
    "eam list --within 192.0.2.0/24 --owner store --limit 2",
    "eam export",
    "eam add 192.0.2.7 2001:db8::7 --stage",
    "diff",
    "check",
    "commit --comment 'staged before'",
    "commit",
    "eam add 192.0.2.8 2001:db8::8 --stage",
    "discard",
    "diff 1..2",
    "diff 1..99",
    "history",
    "history --limit 2 --before 4",
    "rollback 2 --confirm-within 60s",
    "status",
    "confirm --comment 'it works'",
    "confirm",
    "rollback 99",
    "pool show",
    "ports",
    "workers",
    "routes",
    "routes --limit 1",
    "neighbors",
    "counters",
    "reload",
];

/// Fields whose value is another one each time, or a sentence that may be said better.
const VOLATILE: &[&str] = &[
    "time",
    "until",
    "pending_until",
    "confirmed",
    "confirmed_by",
    "pid",
    "uid",
    "build",
    "version",
    "uptime_seconds",
    "message",
    "remedy",
    "text",
    "warnings",
    "comment",
    "reasons",
];

/// One command line, and what crossed the socket for it: requests, each with its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Exchange {
    line: String,
    exit: i32,
    crossed: Vec<(String, String)>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchanges")
}

/// Every recording there is, oldest name first.
fn recordings() -> Vec<(String, Vec<Exchange>)> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let mut recordings: Vec<_> = entries
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let exchanges = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), exchanges)
        })
        .collect();
    recordings.sort_by(|(left, _), (right, _)| left.cmp(right));
    recordings
}

/// A relay that is new, and the files that command lines name.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("rows.csv", "192.0.2.20,2001:db8::20,twenty\n192.0.2.21,2001:db8::21\n");
    lab.write("bad.csv", "192.0.2.300,2001:db8::22\n192.0.2.23,2001:db8::20\n");
    lab
}

/// A message from its head to the end of its body, as far as it comes.
fn request(stream: &UnixStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {
        let last = head.lines().last().unwrap_or_default();
        length = last.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs a command line against a socket that stands between, and answers with what `answer` makes of each request.
fn between(lab: &Lab, line: &str, mut answer: impl FnMut(&str) -> String + Send) -> (Run, Exchange) {
    let socket = lab.directory.path().join("between.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let standing = scope.spawn(|| {
            let mut crossed = Vec::new();
            while !has_ended.load(Ordering::Acquire) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let request = request(&stream);
                let answer = answer(&request);
                stream.write_all(answer.as_bytes()).unwrap();
                crossed.push((request, answer));
            }
            crossed
        });
        let run = run(&socket, lab.directory.path(), line, "");
        has_ended.store(true, Ordering::Release);
        let crossed = standing.join().unwrap();
        let exchange = Exchange { line: line.to_owned(), exit: run.status, crossed };
        (run, exchange)
    })
}

/// What every relay was able to say of itself, and `borderctl` asks since: which revision awaits confirmation.
const PENDING: &str = "GET /v1/confirm ";

/// The answers of a recording, one after the other; whoever asks for more gets a 404.
fn replay<'a>(then: &'a Exchange, pending: &'a Value) -> impl FnMut(&str) -> String + Send + 'a {
    let mut answers = then.crossed.iter();
    move |request| {
        if request.starts_with(PENDING) {
            let body = pending.to_string();
            return format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
        let more = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        answers.next().map_or_else(|| more.to_owned(), |(_, answer)| answer.clone())
    }
}

/// What awaits confirmation after an exchange: what it has left pending, until it is confirmed.
fn pending_after(then: &Exchange, before: Value) -> Value {
    let made = then.crossed.iter().flat_map(|(_, answer)| values(answer)).find_map(|answer| {
        let revision = answer.get("revision").filter(|revision| revision["state"] == "pending")?;
        let (back_to, until) = (&revision["parent"], &revision["until"]);
        Some(json!({"revision": revision, "back_to": back_to, "until": until, "seconds": 60}))
    });
    made.unwrap_or(if then.line.starts_with("confirm") { Value::Null } else { before })
}

#[test]
fn exchanges_are_recorded_for_every_release() {
    if let Ok(release) = std::env::var("RECORD_EXCHANGES") {
        let lab = lab();
        let mut text = String::new();
        for line in LINES {
            let (_, exchange) = between(&lab, line, |request| ask(&lab.socket, request));
            text += &serde_json::to_string(&exchange).unwrap();
            text.push('\n');
        }
        std::fs::create_dir_all(directory()).unwrap();
        let path = directory().join(format!("{release}.jsonl"));
        assert!(!path.exists(), "{} is that of a release, which does not change any more", path.display());
        std::fs::write(path, text).unwrap();
    }
    let recordings = recordings();
    assert!(!recordings.is_empty());
    // A source tree without git, or without tags, has nothing to be held against.
    let tags =
        Command::new("git").args(["tag", "--list", "v*"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let tags = tags.map(|tags| String::from_utf8_lossy(&tags.stdout).into_owned()).unwrap_or_default();
    for version in tags.lines().map(|tag| tag.trim_start_matches('v')) {
        assert!(
            recordings.iter().any(|(name, _)| name == version),
            "nothing is recorded of {version}: RECORD_EXCHANGES={version} cargo test -p borderctl --test cli exchanges, on v{version}"
        );
    }
}

#[test]
fn an_older_borderctl_understands_what_this_relay_answers() {
    for (release, exchanges) in recordings() {
        let lab = lab();
        for then in exchanges {
            for (request, answer) in &then.crossed {
                let now = ask(&lab.socket, request);
                let what = format!("borderctl {release}: {}: {now}", then.line);
                assert_eq!(status(&now), status(answer), "{what}");
                assert_eq!(header(&now, "content-type"), header(answer, "content-type"), "{what}");
                holds(&values(&now), &values(answer), &what);
            }
        }
    }
}

#[test]
fn this_borderctl_asks_an_older_relay_what_it_understands_and_understands_the_answer() {
    for (release, exchanges) in recordings() {
        let lab = lab();
        let mut pending = Value::Null;
        for then in exchanges {
            let (run, now) = between(&lab, &then.line, replay(&then, &pending));
            let what = format!("relay {release}: {}: {run:?}", then.line);
            assert_eq!(run.status, then.exit, "{what}");
            let asked = |exchange: &Exchange| {
                let requests = exchange.crossed.iter().map(|(request, _)| request);
                let known = requests.filter(|request| !request.starts_with(PENDING));
                known.map(|request| essence(request)).collect::<Vec<_>>()
            };
            assert_eq!(asked(&now), asked(&then), "{what}: it does not know that");
            let text = if then.exit == 0 { &run.out } else { &run.err };
            assert!(!text.is_empty(), "{what}");
            // These two are put together from an answer, the others are the answer.
            if then.exit == 0 && !["version", "eam export"].contains(&then.line.as_str()) {
                let (run, _) = between(&lab, &format!("--json {}", then.line), replay(&then, &pending));
                let shown: Vec<Value> =
                    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                holds(&shown, &values(&then.crossed.last().unwrap().1), &what);
            }
            pending = pending_after(&then, pending);
        }
    }
}

#[test]
fn a_confirmation_whose_answer_was_lost_is_said_again() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1 --confirm-within 1h");
    let mut lost = 0;
    let (run, exchange) = between(&lab, "confirm", |request| {
        let answer = ask(&lab.socket, request);
        let is_lost = request.starts_with("POST") && lost == 0;
        lost += u32::from(is_lost);
        if is_lost { String::new() } else { answer }
    });
    assert_eq!((run.status, run.out.trim(), lost), (0, "revision 2 stays", 1), "{run:?}");
    let said: Vec<_> = exchange.crossed.iter().filter(|(request, _)| request.starts_with("POST")).collect();
    assert!(
        said.len() == 2 && said.iter().all(|(request, _)| request.contains("if-match: \"2\"")),
        "{said:?}"
    );
    assert_eq!(lab.json("history")[0]["state"], "active");
}

#[track_caller]
fn holds(now: &[Value], then: &[Value], what: &str) {
    assert_eq!(now.len(), then.len(), "{what}");
    for (now, then) in now.iter().zip(then) {
        contains(now, then, "").unwrap_or_else(|missing| panic!("{what}: {missing}"));
    }
}

/// What of a request a relay has to understand: the first line, the names of headers, the body.
fn essence(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let first = lines.next().unwrap().to_owned();
    let mut names: Vec<_> = lines.map(|line| line.split(':').next().unwrap().to_ascii_lowercase()).collect();
    names.sort();
    (first, names, body.to_owned())
}

fn status(answer: &str) -> Option<&str> {
    answer.split(' ').nth(1)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The JSON values of a body, whether it comes in chunks or not.
fn values(answer: &str) -> Vec<Value> {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines = body.lines().filter(|line| line.starts_with(['{', '[']));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether everything that was there is there: what may be added is more.
fn contains(now: &Value, then: &Value, at: &str) -> Result<(), String> {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => then.iter().try_for_each(|(name, then)| {
            let at = format!("{at}.{name}");
            let now = now.get(name).ok_or_else(|| format!("{at} is gone"))?;
            if VOLATILE.contains(&name.as_str()) {
                same_kind(now, then, &at)
            } else {
                contains(now, then, &at)
            }
        }),
        (Value::Array(now), Value::Array(then)) if now.len() >= then.len() => {
            now.iter().zip(then).try_for_each(|(now, then)| contains(now, then, &format!("{at}[]")))
        }
        (now, then) if now == then => Ok(()),
        _ => Err(format!("{at} was {then} and is {now}")),
    }
}

fn same_kind(now: &Value, then: &Value, at: &str) -> Result<(), String> {
    if std::mem::discriminant(now) == std::mem::discriminant(then) {
        Ok(())
    } else {
        Err(format!("{at} was {then} and is {now}"))
    }
}

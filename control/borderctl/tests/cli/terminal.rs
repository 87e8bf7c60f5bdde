//! What is in files, comments and answers does not reach the terminal as anything but text.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use crate::lab::{Lab, Run, run};

/// Clears the screen, turns the text around, DEL and the eight-bit form of escape.
const EVIL: &str = "\u{1b}[2J\u{7f}\u{202e}\u{9b}31m\r";

#[track_caller]
fn harmless(run: &Run) {
    for text in [&run.out, &run.err] {
        let found = text.find(|mark: char| mark != '\n' && shown::is_obeyed(mark));
        assert_eq!(found.map(|at| &text[at..]), None, "{run:?}");
    }
}

#[test]
fn comments_are_shown_and_not_obeyed() {
    let lab = Lab::new();
    lab.good("eam add 192.0.2.1 2001:db8::1 --comment '\u{202e}one'");
    lab.good("eam add 192.0.2.2 2001:db8::2 --comment '\u{202e}two' --stage");
    for verb in [
        "eam list",
        "eam get 192.0.2.1",
        "eam lookup 192.0.2.1",
        "eam export",
        "history",
        "diff",
        "diff 1..2",
    ] {
        for line in [verb.to_owned(), format!("--json {verb}")] {
            let run = lab.run(&line);
            assert_eq!(run.status, 0, "{line}: {run:?}");
            harmless(&run);
        }
    }
    assert!(lab.good("eam list").contains("\\u{202e}one"));
    assert_eq!(lab.json("eam get 192.0.2.1")["comment"], "\u{202e}one");
}

#[test]
fn rows_that_are_refused_are_shown_and_not_obeyed() {
    let lab = Lab::new();
    for (name, text) in [
        ("a.csv", format!("192.0.2.1{EVIL},2001:db8::1\n192.0.2.2,2001:db8::2{EVIL},x\n")),
        ("b.csv", format!("192.0.2.1,\"2001:db8::1{EVIL}\n")),
        ("c.csv", format!("192.0.2.1,2001:db8::1,{EVIL}\n")),
        ("tayga.conf", format!("map 192.0.2.1 {EVIL} x\n")),
        (
            "jool.json",
            format!("{{\"eamt\": [{{\"{}\": 1}}]}}", EVIL.replace('\u{1b}', "\\u001b").replace('\r', "")),
        ),
        (
            "lines",
            format!("{{\"ipv4\":\"\\u001b[2J{}\",\"ipv6\":\"x\"}}\n", EVIL.replace(['\u{1b}', '\r'], "")),
        ),
        (EVIL, "192.0.2.1,x\n".to_owned()),
    ] {
        lab.write(name, text);
        for line in [format!("eam import '{name}'"), format!("--json eam import '{name}'")] {
            let run = lab.run(&line);
            assert_eq!(run.status, 1, "{line}: {run:?}");
            harmless(&run);
        }
    }
    harmless(&lab.run(&format!("eam import '/nowhere/{EVIL}'")));
    harmless(&lab.run(&format!("eam add 192.0.2.1 '{EVIL}'")));
    harmless(&run(&lab.directory.path().join(EVIL), lab.directory.path(), "status", ""));
}

/// Whatever answers at the socket, a relay of another version or somebody else.
#[test]
fn answers_are_shown_and_not_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let text = EVIL.replace('\u{1b}', "\\u001b").replace('\r', "\\r");
    let finding = format!("{{\"value\":\"{text}\",\"message\":\"{text}\",\"remedy\":\"{text}\"}}");
    let refusal = format!(
        "{{\"code\":\"refused\",\"message\":\"{text}\",\"remedy\":\"{text}\",\"findings\":[{finding},{finding}]}}"
    );
    let eam = format!("{{\"ipv4\":\"{text}\",\"ipv6\":\"x\",\"owner\":\"store\",\"comment\":\"{text}\"}}");
    let answers = [
        (422, refusal, "eam add 192.0.2.1 2001:db8::1"),
        (200, eam.clone(), "eam get 192.0.2.1"),
        (200, eam, "eam list"),
        (200, text, "status"),
    ];
    for (status, body, line) in answers {
        for line in [line.to_owned(), format!("--json {line}")] {
            thread::scope(|scope| {
                let relay = scope.spawn(|| {
                    let (mut stream, _) = listener.accept().unwrap();
                    // The request fits into one piece.
                    let _ = stream.read(&mut [0; 65536]).unwrap();
                    let length = body.len();
                    stream
                        .write_all(
                            format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}")
                                .as_bytes(),
                        )
                        .unwrap();
                });
                let run = run(&socket, directory.path(), &line, "");
                relay.join().unwrap();
                assert!(!run.out.is_empty() || !run.err.is_empty(), "{line}");
                harmless(&run);
            });
        }
    }
}

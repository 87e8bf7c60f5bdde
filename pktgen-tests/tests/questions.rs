//! The table of questions in docs/operations.md: every command of it, on a relay to which all of it has happened, prints what
//! stands there, but for numbers.
#![allow(clippy::panic, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pktgen_tests::lab::{
    Cmd, Daemon, Lab, LabError, Need, PATIENCE, Shape, TestResult, borderctl, skip_unless, wait_until,
};
use serde_json::Value;

struct Row {
    question: String,
    command: String,
    /// What the command prints, one piece of it for each pair of backticks.
    answers: Vec<String>,
}

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

fn table() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(path).expect("it is there");
    let (_, rest) = text.split_once("| Question | Command | Answer |\n").expect("there is such a table");
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        let cells: Vec<String> = line.split('|').map(|cell| cell.replace('\u{0}', "|")).collect();
        let command = quoted(&cells[2]);
        assert_eq!(command.len(), 1, "one command answers: {}", cells[1]);
        Row { question: cells[1].trim().to_owned(), command: command[0].clone(), answers: quoted(&cells[3]) }
    };
    rows.map(row).collect()
}

/// Text with one sign for each number, and one space between words.
fn skeleton(text: &str) -> String {
    let mut skeleton = String::new();
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign.is_ascii_digit() {
            while signs.next_if(|next| next.is_ascii_digit() || *next == '.').is_some() {}
            skeleton.push('#');
        } else if sign.is_whitespace() {
            if !skeleton.ends_with(' ') {
                skeleton.push(' ');
            }
        } else {
            skeleton.push(sign);
        }
    }
    skeleton.trim().to_owned()
}

/// The words of a command line, as a shell parts them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

fn ctl(socket: &Path, line: &str) -> Cmd {
    let program = borderctl().expect("it is built with the relay").display().to_string();
    let cmd = Cmd::new(&program).arg("--socket").arg(socket.display().to_string()).timeout(60);
    words(line).into_iter().fold(cmd, Cmd::arg)
}

fn good(socket: &Path, line: &str) -> Result<String, LabError> {
    let output = ctl(socket, line).run()?;
    assert!(output.success(), "{line}: {}", output.text());
    Ok(output.stdout)
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn every_question_is_answered_by_its_command() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let kept = tempfile::tempdir().expect("there is room for a directory");
    let path = |name: &str| -> PathBuf { kept.path().join(name) };
    let socket = path("control.sock");
    let control = format!(
        "\n[control]\nsocket = \"{}\"\nstore = \"{}\"\n",
        socket.display(),
        path("mappings.db").display()
    );
    let mut lab = Lab::up(&Shape { translation: control, ..Shape::default() })?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    // The relay before this one was killed.
    let pid = lab.relay().pid();
    let relay = lab.take_relay();
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("it runs");
    relay.kill();
    lab.start_relay()?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    // A rack with a server that is not there; a configuration that is wrong; traffic, and a scan.
    good(&socket, "eam add 192.0.2.0/28 2001:db8:99::/124 --comment 'a whole rack'")?;
    good(&socket, "eam add 192.0.2.7 2001:db8:12:34::7")?;
    let toml = lab.config.to_toml();
    lab.relay().rewrite(&toml.replace("192.0.2.1/32", "192.0.2.300/32"))?;
    assert!(!ctl(&socket, "reload").run()?.success());
    let mut pings = Vec::new();
    for (to, pause) in [("192.0.2.1", "0.02"), ("192.0.2.77", "0.05"), ("192.0.2.7", "0.5")] {
        let ping = lab.client.cmd("ping").args(&format!("-n -q -i{pause} -W1 -c100000 {to}")).timeout(300);
        pings.push(Daemon::start("ping", &ping, tempfile::tempdir().expect("there is room"))?);
    }
    let is_told = || good(&socket, "status").is_ok_and(|text| text.contains("does not answer"));
    assert!(wait_until(PATIENCE, is_told), "{}", good(&socket, "status")?);

    let table = table();
    assert!(table.len() >= 19, "{} questions", table.len());
    let mut wrong = Vec::new();
    for row in &table {
        let line = row.command.strip_prefix("borderctl ").expect("a command of borderctl");
        let samples: Value = serde_json::from_str(&good(
            &socket,
            "--json drops --last 1 --reason unassigned_service_address",
        )?)
        .expect("JSON");
        let line = line.replace("--last-drop 272", &format!("--last-drop {}", samples[0]["id"]));
        let is_answered =
            |text: &str| row.answers.iter().all(|answer| skeleton(text).contains(&skeleton(answer)));
        // Rates and ages settle in a second or two.
        let mut text = String::new();
        let found = wait_until(PATIENCE, || {
            text = good(&socket, &line).unwrap_or_else(|error| error.to_string());
            is_answered(&text)
        });
        println!("== {}\n# borderctl {line}\n{text}", row.question);
        if !found || row.answers.is_empty() {
            wrong.push(format!("{}: `{line}` prints\n{text}and not {:?}", row.question, row.answers));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for ping in &mut pings {
        ping.stop(Signal::SIGTERM, Duration::from_secs(20));
    }
    lab.assert_healthy()
}

#[test]
fn numbers_are_all_that_may_be_different() {
    assert_eq!(skeleton("v4  up  71\n 0.25 s"), skeleton("v4 up 7 12 s"));
    assert_ne!(skeleton("died 3 s"), skeleton("stopped 3 s"));
}

//! At a terminal: colours, a pager, a screen that is written anew, a bar. `script` of util-linux makes the terminal.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::Lab;

/// `script` with a command line at a terminal of its own.
fn at_a_terminal(lab: &Lab, line: &str, environment: &[(&str, &str)]) -> Command {
    let mut script = Command::new("script");
    script
        .args(["-qfec", &format!("{} {line}", env!("CARGO_BIN_EXE_borderctl")), "/dev/null"])
        .env("BORDERLINE_SOCKET", &lab.socket)
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env("PAGER", "cat")
        .envs(environment.iter().copied())
        .current_dir(lab.directory.path())
        .stdin(Stdio::null());
    script
}

/// What is on the terminal at the end.
#[track_caller]
fn screen(lab: &Lab, line: &str, environment: &[(&str, &str)]) -> String {
    let output = at_a_terminal(lab, line, environment).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{line}: {text}");
    text.replace('\r', "")
}

#[test]
fn people_see_colours_unless_they_do_not_want_to() {
    let lab = Lab::new();
    let coloured = screen(&lab, "status", &[]);
    assert!(coloured.contains("\x1b[31mdegraded\x1b[0m") && coloured.contains("\x1b[1mPORT"), "{coloured:?}");
    for word in ["2026-11-28T19:50:18Z, \x1b[31mrefused\x1b[0m: the", "pid 4711 \x1b[31mdied\x1b[0m 2026"] {
        assert!(coloured.contains(word), "{word:?} is missing in {coloured:?}");
    }
    let health = screen(&lab, "health", &[]);
    assert!(health.contains("link  v6  \x1b[31mfailing\x1b[0m  2026-11-28T22:36:12Z  no link"), "{health:?}");
    let title = screen(&lab, "health", &[("NO_COLOR", "1")]);
    let under = |text: &str, word: &str| text.lines().find_map(|line| line.find(word));
    assert_eq!(under(&title, "SINCE"), under(&title, "2026-11-28T22:36:12Z"), "{title}");
    let explained = screen(&lab, "explain --src 203.0.113.50 --dst 192.0.2.1", &[]);
    assert!(explained.contains("verdict   \x1b[32mtranslated\x1b[0m"), "{explained:?}");
    for text in [&coloured, &health, &explained] {
        assert!(!text.contains("\\u{1b}"), "no colour is written out: {text:?}");
    }
    let plain = screen(&lab, "status", &[("NO_COLOR", "1")]);
    assert!(plain.contains("health     degraded") && !plain.contains('\x1b'), "{plain:?}");
    let json = screen(&lab, "--json status", &[]);
    assert!(!json.contains('\x1b') && json.starts_with('{'), "{json:?}");
}

#[test]
fn lists_are_paged_and_whoever_leaves_the_pager_early_is_done() {
    let lab = Lab::new();
    let paged = screen(&lab, "eam list", &[("PAGER", "sed s/^/paged:/"), ("NO_COLOR", "1")]);
    assert!(
        paged.lines().all(|line| line.starts_with("paged:")) && paged.contains("192.0.2.10/32"),
        "{paged:?}"
    );
    assert!(!lab.good("eam list").contains("paged:"), "a pipe is not paged");
    let rows: String =
        (0..5000).map(|row| format!("10.0.{}.{},2001:db8::{row:x}\n", row / 256, row % 256)).collect();
    lab.write("many.csv", rows);
    lab.good("eam import many.csv");
    let left = screen(&lab, "eam list", &[("PAGER", "head -n 2"), ("NO_COLOR", "1")]);
    assert_eq!(left.lines().count(), 2, "{left:?}");
    let gone = screen(&lab, "eam list --limit 1", &[("PAGER", "no-such-pager"), ("NO_COLOR", "1")]);
    assert!(gone.contains("10.0.0.0/32"), "without a pager it is written as it is: {gone:?}");
}

#[test]
fn a_watched_screen_is_written_anew() {
    let lab = Lab::new();
    let mut child = at_a_terminal(&lab, "status --watch 1", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut text, started) = (Vec::new(), Instant::now());
    let mut bytes = [0; 4096];
    let clears = |text: &[u8]| String::from_utf8_lossy(text).matches("\x1b[H\x1b[2J").count();
    while clears(&text) < 3 && started.elapsed() < Duration::from_secs(60) {
        let read = stdout.read(&mut bytes).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..read]);
    }
    let text = String::from_utf8_lossy(&text);
    // Its terminal goes with it, and the client with that.
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(text.matches("degraded").count() >= 2, "{text:?}");
}

#[test]
fn a_large_import_shows_how_far_it_is() {
    let lab = Lab::new();
    let rows: String =
        (0..20_000).map(|row| format!("10.1.{}.{},2001:db8::{row:x}\n", row / 256, row % 256)).collect();
    lab.write("large.csv", rows);
    let shown = screen(&lab, "eam import large.csv", &[]);
    assert!(shown.contains("[====") && shown.contains("checking and committing"), "{shown:?}");
    assert!(shown.trim_end().ends_with("20000 more warnings") || shown.contains("20000 added"), "{shown:?}");
    let run = lab.run("eam import large.csv");
    assert_eq!((run.status, run.err.as_str()), (0, ""), "no bar where nobody looks");
}

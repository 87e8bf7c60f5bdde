//! What it says about itself, and wrong usage.

use crate::common::Run;

#[test]
fn help_names_every_command_and_option() {
    for (arguments, words) in [
        (&["--help"][..], &["run", "check", "translate", "--version", "Usage: borderline <COMMAND>"][..]),
        (&["run", "--help"], &["--config <FILE>", "SIGTERM", "SIGUSR1", "bl-<port>", "RUST_LOG"]),
        (&["check", "--help"], &["--config <FILE>", "Exit status 0", "2 when not"]),
        (
            &["translate", "--help"],
            &[
                "--config <FILE>",
                "--in <IN.pcap>",
                "--out <OUT.pcap>",
                "--report <REPORT.jsonl>",
                "--ipv4-mtu <N>",
                "--ipv6-mtu <N>",
                "--ipv4-address <A>",
                "--ipv6-address <A>",
                "[default: 1500]",
                "No rate limit",
            ],
        ),
    ] {
        let run = Run::borderline(arguments);
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        // Lines are wrapped to the width of the terminal.
        let text = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "{word:?} is missing\n{}", run.stdout);
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    for option in ["--version", "-V"] {
        let run = Run::borderline([option]);
        assert_eq!(run.status, Some(0));
        let expected = format!("borderline {}", env!("CARGO_PKG_VERSION"));
        assert!(run.stdout.starts_with(&expected), "{}", run.stdout);
    }
}

#[test]
fn wrong_usage_is_status_2() {
    Run::borderline::<&str>([]).failed_with(2, &["Usage: borderline <COMMAND>"]);
    Run::borderline(["fly"]).failed_with(2, &["unrecognized subcommand 'fly'", "--help"]);
    for command in ["run", "check"] {
        Run::borderline([command]).failed_with(2, &["--config <FILE>", "--help"]);
        Run::borderline([command, "--config"]).failed_with(2, &["a value is required", "--help"]);
        let surplus = [command, "--config", "a.toml", "b.toml"];
        Run::borderline(surplus).failed_with(2, &["unexpected argument 'b.toml'", "--help"]);
    }
}

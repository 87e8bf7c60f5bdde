//! The command line: what it says, what it refuses, and that a relay that cannot start says why in one sentence and
//! leaves nothing behind.
//!
//! Those who run as root get a network namespace of their own for every relay. `BORDERLINE_REQUIRE_E2E=1` turns what
//! would be skipped into a failure.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use common::{BORDERLINE, Run};

/// Nobody's user and group.
const NOBODY: &str = "65534";

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// True, after saying why past the test harness, when a test for root cannot run.
fn skip_without_root() -> bool {
    if is_root() {
        return false;
    }
    let required = std::env::var("BORDERLINE_REQUIRE_E2E").is_ok_and(|value| value == "1");
    assert!(!required, "may not be skipped here: needs root");
    writeln!(std::io::stderr(), "SKIPPED: needs root").ok();
    true
}

/// The first CPU this process may use.
fn cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = list.trim().split([',', '-']).next().unwrap();
    first.to_owned()
}

/// A relay with one port, in ordinary memory.
struct Relay {
    directory: TempDir,
    device: String,
    workers: String,
    memory: String,
}

impl Relay {
    fn new(device: &str) -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            device: device.to_owned(),
            workers: cpu(),
            memory: "memory = \"no-huge\"\nmemory_mb = 64".to_owned(),
        }
    }

    /// A relay that starts: its port is a bit bucket.
    fn good() -> Self {
        Self::new("net_null0,no-rx=1")
    }

    fn config(&self) -> PathBuf {
        let path = self.directory.path().join("relay.toml");
        let toml = format!(
            "[dpdk]\nworkers = [{}]\n{}\n[[port]]\nname = \"bltest\"\ndevice = \"{}\"\n\
             [translation]\nprefixes = [\"2001:db8:46::/96\"]\nicmp_source_pool = [\"198.51.100.1\"]\n",
            self.workers, self.memory, self.device
        );
        fs::write(&path, toml).unwrap();
        path
    }

    /// The command that runs it; as root in a network namespace of its own, followed by a look at what is left there.
    fn command(&self) -> Command {
        self.command_as(&[OsStr::new(BORDERLINE)])
    }

    fn command_as(&self, program: &[&OsStr]) -> Command {
        let mut command;
        if is_root() {
            command = Command::new("unshare");
            command.args(["--net", "sh", "-c"]);
            command.arg(
                "\"$@\"; status=$?; grep bl-bltest /proc/net/dev && echo 'a twin is left'; exit $status",
            );
            command.arg("sh");
            command.args(program);
        } else {
            command = Command::new(program[0]);
            command.args(&program[1..]);
        }
        command.args(["run", "--config"]).arg(self.config());
        command.current_dir(self.directory.path()).env("RUST_LOG", "info");
        command
    }

    /// Runs the relay, which must give up: one error line with all of these words, and nothing left behind.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        refused(&Run::command(&mut self.command()), words);
        assert_eq!(files(self.directory.path()), ["relay.toml"]);
    }
}

#[track_caller]
fn refused(run: &Run, words: &[&str]) {
    run.failed_with(1, &[]);
    assert_eq!(run.stdout, "", "nothing is left, nothing is said on standard output");
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.contains(" ERROR ")).collect();
    assert_eq!(errors.len(), 1, "one sentence\n{}", run.stderr);
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is missing\n{}", run.stderr);
    }
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

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

#[test]
fn check_sums_up_a_good_file() {
    let relay = Relay::good();
    let path = relay.config();
    let mut toml = fs::read_to_string(&path).unwrap();
    toml.push_str("[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8:12:34::1\"\n");
    fs::write(&path, toml).unwrap();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
    for word in ["relay.toml", "bltest", "2001:db8:46::/96", "1 EAM"] {
        assert!(run.stdout.contains(word), "{word:?} is missing\n{}", run.stdout);
    }
}

#[test]
fn addresses_may_end_in_dotted_decimal() {
    let relay = Relay::good();
    let path = relay.config();
    let mut toml = fs::read_to_string(&path).unwrap();
    toml.push_str("[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8:12:34::192.0.2.1\"\n");
    fs::write(&path, toml).unwrap();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
}

#[test]
fn check_does_not_hold_this_machine_against_the_file() {
    let mut relay = Relay::good();
    relay.workers = "1000".to_owned();
    relay.memory = "memory_mb = 1048576".to_owned();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), relay.config().as_os_str()]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    for word in ["no such CPU online", "vm.nr_hugepages="] {
        assert!(run.stdout.contains(word), "{word:?} is missing\n{}", run.stdout);
    }
}

#[test]
fn check_lists_every_problem_of_a_bad_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    let toml = "[dpdk]\nworkers = []\n[[port]]\nname = \"much-too-long-a-name\"\ndevice = \"eth0\"\nmtu = 1279\n\
                [translation]\nprefixes = [\"2001:db8::/44\"]\nhairpn = \"off\"\n";
    fs::write(&path, toml).unwrap();
    let run = Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()]);
    assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{run:#?}");
    for (line, word) in [
        (2, "dpdk.workers"),
        (4, "12 or fewer"),
        (5, "\"eth0\""),
        (6, "1280 or more"),
        (8, "/44"),
        (9, "hairpin"),
    ] {
        let place = format!("relay.toml:{line}:");
        let found = run.stderr.lines().any(|text| text.contains(&place) && text.contains(word));
        assert!(found, "{place} {word}\n{}", run.stderr);
    }
    assert!(run.stderr.contains("6 problems"), "{}", run.stderr);
}

#[test]
fn a_configuration_that_is_missing_or_wrong_is_status_2() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relay.toml");
    for command in ["run", "check"] {
        let arguments = [OsStr::new(command), OsStr::new("--config"), path.as_os_str()];
        Run::borderline(arguments)
            .failed_with(2, &["relay.toml: cannot be read", "there is no such file", "check the path"]);
    }
    fs::write(&path, "[translation]\nprefixes = [\"2001:db8::/44\"]\n").unwrap();
    let run = Run::borderline([OsStr::new("run"), OsStr::new("--config"), path.as_os_str()]);
    run.failed_with(2, &["relay.toml:2:", "/44 is no RFC 6052 length", "port: missing"]);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    for device in ["net_af_packet0,iface=nowhere0", "net_af_xdp0,iface=nowhere0"] {
        Relay::new(device).refused(&[
            "port bltest",
            device,
            "no network interface nowhere0 in this network namespace",
        ]);
    }
}

#[test]
fn an_unknown_driver_is_named() {
    Relay::new("net_warp0").refused(&["port bltest", "net_warp0", "no driver of this name", "net_af_xdp0"]);
}

#[test]
fn a_wrong_argument_is_named_with_those_there_are() {
    for (device, words) in [
        ("net_null0,bogus=1", ["no argument \"bogus\"", "it takes size, copy, no-rx"]),
        ("net_vhost0,queues=2", ["net_vhost needs iface=...", "as in net_vhost0,iface=..."]),
        ("net_memif0,role=boss", ["Unknown role: boss", "correct the arguments of the device"]),
    ] {
        Relay::new(device).refused(&words);
    }
}

#[test]
fn a_file_or_a_peer_that_is_not_there_is_named() {
    for (device, words) in [
        ("net_pcap0,rx_pcap=/nowhere/in.pcap", ["no file /nowhere/in.pcap", "correct the path"]),
        (
            "net_virtio_user0,path=/tmp/nobody-is-here.sock",
            ["nobody listens on /tmp/nobody", "start the other end first"],
        ),
        (
            "net_memif0,role=client,socket=/tmp/nobody-is-here.sock,socket-abstract=no",
            ["nobody listens on /tmp/nobody", "start the other end first"],
        ),
    ] {
        Relay::new(device).refused(&words);
    }
}

#[test]
fn a_card_that_is_not_there_is_named() {
    let words = ["port bltest", "0000:ff:1f.7", "no PCI card at this address", "dpdk-devbind.py"];
    Relay::new("0000:ff:1f.7").refused(&words);
}

#[test]
fn a_cpu_that_is_not_there_is_named() {
    let mut relay = Relay::good();
    relay.workers = "1000".to_owned();
    relay.refused(&["relay.toml:2:", "dpdk.workers = 1000", "no such CPU online", "use CPUs out of"]);
}

#[test]
fn missing_hugepages_come_with_the_command_that_reserves_them() {
    let mut relay = Relay::good();
    relay.memory = "memory_mb = 1048576".to_owned();
    relay.refused(&[
        "relay.toml:3:",
        "memory_mb asks for 1048576",
        "sysctl -w vm.nr_hugepages=524288",
        "memory = \"no-huge\"",
    ]);
}

#[test]
fn a_machine_without_hugepages_is_told_how_to_get_them() {
    if skip_without_root() {
        return;
    }
    let mut relay = Relay::good();
    relay.memory = "memory = \"hugepages\"\nmemory_mb = 64".to_owned();
    // As in a container that hides them.
    let script = "mount -t tmpfs none /sys/kernel/mm/hugepages && exec \"$1\" run --config \"$2\"";
    let config = relay.config();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", script, "sh"]).arg(BORDERLINE).arg(&config);
    let words = ["0 MB of hugepages are reserved", "sysctl -w vm.nr_hugepages=32", "memory = \"no-huge\""];
    refused(&Run::command(&mut command), &words);
}

#[test]
fn missing_memory_is_named() {
    let mut relay = Relay::good();
    relay.memory = "memory = \"no-huge\"\nmemory_mb = 1048576".to_owned();
    relay.refused(&["MB of memory are free", "1048576 MB are wanted", "lower memory_mb in [dpdk]"]);
}

#[test]
fn a_memif_socket_in_use_is_named_and_left_alone() {
    let mut relay = Relay::new("");
    let elsewhere = TempDir::new().unwrap();
    let socket = elsewhere.path().join("memif.sock");
    let _peer = UnixListener::bind(&socket).unwrap();
    relay.device = format!("net_memif0,role=server,socket={},socket-abstract=no", socket.display());
    relay.refused(&["port bltest", "net_memif0", "another process listens on", "memif.sock", "another path"]);
    assert!(socket.exists());
}

#[test]
fn a_vhost_socket_in_use_is_named_and_left_alone() {
    let mut relay = Relay::new("");
    let elsewhere = TempDir::new().unwrap();
    let socket = elsewhere.path().join("vhost.sock");
    let peer = UnixListener::bind(&socket).unwrap();
    relay.device = format!("net_vhost0,iface={}", socket.display());
    relay.refused(&["port bltest", "net_vhost0", "another process listens on", "vhost.sock", "another path"]);
    assert!(socket.exists(), "the socket of somebody else is gone");
    drop(peer);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    relay.refused(&["vhost.sock exists and is no socket"]);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    for (device, words) in [
        (
            "net_memif0,role=server,socket=/nowhere/memif.sock,socket-abstract=no",
            ["net_memif0", "no directory /nowhere: create it"],
        ),
        ("net_vhost0,iface=/nowhere/vhost.sock", ["/nowhere/vhost.sock", "no directory /nowhere: create it"]),
        (
            "net_virtio_user0,path=/nowhere/vhost.sock",
            ["/nowhere/vhost.sock", "no directory /nowhere: create it"],
        ),
        ("net_pcap0,tx_pcap=/nowhere/out.pcap", ["/nowhere/out.pcap", "no directory /nowhere: create it"]),
    ] {
        Relay::new(device).refused(&words);
    }
}

/// Runs a relay as nobody, in the namespace root made for it.
fn as_nobody(relay: &Relay) -> Run {
    // Neither the target directory nor a temporary one is for everybody.
    let program = relay.directory.path().join("borderline");
    fs::copy(BORDERLINE, &program).unwrap();
    fs::set_permissions(relay.directory.path(), Permissions::from_mode(0o755)).unwrap();
    let setpriv = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"].map(OsStr::new);
    let mut words = setpriv.to_vec();
    words.push(program.as_os_str());
    Run::command(&mut relay.command_as(&words))
}

#[test]
fn without_privileges_the_missing_ones_are_named() {
    if skip_without_root() {
        return;
    }
    for (device, words) in [
        (
            "net_null0,no-rx=1",
            &["not permitted to create interface bl-bltest", "root or with CAP_NET_ADMIN"][..],
        ),
        ("net_af_packet0,iface=lo", &["net_af_packet0", "this needs CAP_NET_RAW and CAP_NET_ADMIN"]),
        (
            "net_af_xdp0,iface=lo",
            &["net_af_xdp0", "this needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN and CAP_IPC_LOCK"],
        ),
    ] {
        refused(&as_nobody(&Relay::new(device)), words);
    }
}

/// As docs/operations.md says: these capabilities and no others, and a directory of its own for the socket and the store.
#[test]
fn an_unprivileged_user_runs_a_relay_and_ends_with_one_capability() {
    use std::os::unix::fs::MetadataExt;

    if skip_without_root() {
        return;
    }
    for (device, capabilities) in [
        ("net_af_packet0,iface=blu", "-all,+net_admin,+net_raw"),
        ("net_af_xdp0,iface=blu", "-all,+net_admin,+net_raw,+sys_admin,+ipc_lock"),
    ] {
        let relay =
            Relay { memory: "memory = \"no-huge\"\nmemory_mb = 256".to_owned(), ..Relay::new(device) };
        let directory = relay.directory.path();
        let config = relay.config();
        let control = "[control]\nsocket = \"control.sock\"\nstore = \"mappings.db\"\n";
        fs::write(&config, fs::read_to_string(&config).unwrap() + control).unwrap();
        let program = directory.join("borderline");
        fs::copy(BORDERLINE, &program).unwrap();
        let nobody = NOBODY.parse().unwrap();
        std::os::unix::fs::chown(directory, Some(nobody), Some(nobody)).unwrap();
        let script = "ip link add blu type veth peer name blup && ip link set blu up && ip link set blup up && exec \"$@\"";
        let mut child = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                script,
                "sh",
                "setpriv",
                "--reuid",
                NOBODY,
                "--regid",
                NOBODY,
                "--clear-groups",
            ])
            .args(
                ["--inh-caps", "--ambient-caps", "--bounding-set"]
                    .map(|option| format!("{option}={capabilities}")),
            )
            .arg(&program)
            .args(["run", "--config"])
            .arg(&config)
            .current_dir(directory)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        let is_running =
            lines.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.contains("translating"));
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        lines.for_each(drop);
        assert!(child.wait().unwrap().success() && is_running, "{device}: {said:#?}");
        let net_admin_alone = "0000000000001000";
        for (field, value) in [
            ("Uid:", NOBODY),
            ("CapPrm:", net_admin_alone),
            ("CapEff:", net_admin_alone),
            ("NoNewPrivs:", "1"),
        ] {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            assert_eq!(line.split_whitespace().nth(1), Some(value), "{device}: {line}");
        }
        let store = fs::metadata(directory.join("mappings.db")).unwrap();
        assert_eq!((store.uid(), store.mode() & 0o777), (nobody, 0o600));
    }
}

#[test]
fn a_socket_that_may_not_be_made_is_named() {
    if skip_without_root() {
        return;
    }
    let elsewhere = TempDir::new().unwrap();
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
    let place = elsewhere.path().display();
    for (device, words) in [
        (
            format!("net_memif0,role=server,socket={place}/m.sock,socket-abstract=no"),
            ["net_memif0", "may not write to the directory of the socket"],
        ),
        (format!("net_vhost0,iface={place}/v.sock"), ["v.sock", "Permission denied"]),
    ] {
        refused(&as_nobody(&Relay::new(&device)), &words);
    }
    assert!(files(elsewhere.path()).is_empty());
}

#[test]
fn a_second_relay_with_the_same_port_name_leaves_the_first_alone() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let (program, config) = (Path::new(BORDERLINE), relay.config());
    // Both in one namespace: the first must be translating when the second tries, and still be there afterwards.
    let script = r#"
        "$1" run --config "$2" 2>first.log &
        first=$!
        for _ in $(seq 100); do grep -q translating first.log && break; sleep 0.1; done
        "$1" run --config "$2"; echo "second: $?"
        grep -c bl-bltest /proc/net/dev
        kill -TERM $first; wait $first; echo "first: $?"
        grep -c bl-bltest /proc/net/dev
    "#;
    let run = Run::command(
        Command::new("unshare")
            .args(["--net", "sh", "-c", script, "sh"])
            .args([program, &config])
            .current_dir(relay.directory.path()),
    );
    let first = fs::read_to_string(relay.directory.path().join("first.log")).unwrap();
    assert_eq!(run.stdout, "second: 1\n1\nfirst: 0\n0\n", "{}\n{first}", run.stderr);
    for word in ["interface bl-bltest exists", "is another borderline running?", "rename the port"] {
        assert!(run.stderr.contains(word), "{word:?} is missing\n{}", run.stderr);
    }
}

#[test]
fn check_machine_lists_at_once_what_a_start_would_find() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let path = relay.config();
    let toml = fs::read_to_string(&path).unwrap();
    let more = "[[port]]\nname = \"second\"\ndevice = \"net_af_xdp0,iface=nowhere0\"\n\
                [[port]]\nname = \"third\"\ndevice = \"0000:ff:1f.7\"\n[translation]";
    fs::write(&path, toml.replace("[translation]", more).replace("workers = [", "workers = [1000, "))
        .unwrap();
    let check = |arguments: &str| {
        let script = format!(
            "ip tuntap add dev bl-bltest mode tap; ip rule add from 198.18.0.0/15 lookup 7; exec \"$1\" check {arguments} --config \"$2\""
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script, "sh", BORDERLINE]).arg(&path);
        Run::command(&mut command)
    };
    let plain = check("");
    assert_eq!(plain.status, Some(0), "the file itself is good: {plain:#?}");
    let run = check("--machine");
    run.failed_with(
        2,
        &[
            "no such CPU online",
            "interface bl-bltest exists",
            "port second: device net_af_xdp0,iface=nowhere0",
            "nowhere0",
            "port third: device 0000:ff:1f.7",
            "1 policy rules are not followed",
        ],
    );
}

#[test]
fn check_machine_is_content_with_a_machine_that_has_everything() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let mut command = Command::new("unshare");
    command.args(["--net", BORDERLINE, "check", "--machine", "--config"]).arg(relay.config());
    let run = Run::command(&mut command);
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:#?}");
}

#[test]
fn too_few_files_are_named_before_anything_fails_for_want_of_them() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let words = ["prlimit", "--nofile=20:20"].map(OsStr::new);
    let run = Run::command(&mut relay.command_as(&[&words[..], &[OsStr::new(BORDERLINE)]].concat()));
    refused(&run, &["may open 20 files", "ulimit -n", "LimitNOFILE="]);
    // A low soft limit is raised.
    let mut child = Command::new("unshare")
        .args(["--net", "--", "prlimit", "--nofile=20:1024", BORDERLINE, "run", "--config"])
        .arg(relay.config())
        .current_dir(relay.directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let started = lines.any(|line| line.contains("translating"));
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let stopped = lines.any(|line| line.starts_with("counters "));
    assert_eq!((started, stopped, child.wait().unwrap().code()), (true, true, Some(0)));
}

#[test]
fn ports_that_dpdk_has_no_room_for_and_names_of_dots_are_refused_by_check() {
    let relay = Relay::good();
    let path = relay.config();
    let toml = fs::read_to_string(&path).unwrap();
    let port = |number| format!("[[port]]\nname = \"p{number}\"\ndevice = \"net_null{number}\"\n");
    let many: String = (1..=64).map(port).collect();
    let check = |toml: String| {
        fs::write(&path, toml).unwrap();
        Run::borderline([OsStr::new("check"), OsStr::new("--config"), path.as_os_str()])
    };
    check(toml.replace("[translation]", &format!("{many}[translation]")))
        .failed_with(2, &["65 ports; use 32 or fewer"]);
    for dots in [".", ".."] {
        check(toml.replace("bltest", dots)).failed_with(2, &["dots alone are no name"]);
    }
}

/// The CPUs of every thread of a process, by the name of the thread.
fn threads(pid: u32) -> Vec<(String, String)> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let thread = |task: PathBuf| {
        let status = read(task.join("status"));
        let cpus = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap()
            .trim()
            .to_owned();
        (read(task.join("comm")).trim().to_owned(), cpus)
    };
    tasks.map(|task| thread(task.unwrap().path())).collect()
}

#[test]
fn a_worker_has_its_cpu_to_itself() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if skip_without_root() || cpus < 2 {
        return;
    }
    let relay = Relay::good();
    let mut child = Command::new("unshare")
        .args(["--net", "--", BORDERLINE, "run", "--config"])
        .arg(relay.config())
        .current_dir(relay.directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let translating = lines.any(|line| line.contains("translating"));
    let threads = threads(child.id());
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let stopped = lines.any(|line| line.starts_with("counters "));
    drop(lines);
    assert_eq!((translating, stopped, child.wait().unwrap().code()), (true, true, Some(0)));
    let worker = format!("worker-{}", relay.workers);
    assert!(threads.len() > 1);
    for (name, list) in threads {
        let is_worker = name == worker;
        let shares = list.split(',').any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u32>().unwrap();
            (number(first)..=number(last)).contains(&number(&relay.workers))
        });
        assert_eq!(
            shares, is_worker,
            "thread {name} may run on CPUs {list}, the worker on {}",
            relay.workers
        );
    }
}

/// Resident memory of a process in kilobytes.
fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn reloads_do_not_make_it_grow() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let eams: String = (0..200_000_u32)
        .map(|number| {
            let [_, a, b, c] = number.wrapping_mul(0x009e_3779).to_be_bytes();
            format!("10.{a}.{b}.{c},2001:db8:1::{a:x}:{b:02x}{c:02x}\n")
        })
        .collect();
    let path = relay.config();
    fs::write(relay.directory.path().join("eams.csv"), eams).unwrap();
    let toml = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("eam_files = [\"eams.csv\"]\n{toml}")).unwrap();
    let mut child = Command::new("unshare")
        .args(["--net", "--", BORDERLINE, "run", "--config"])
        .arg(&path)
        .current_dir(relay.directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("translating")), "it starts");
    let send = |signal: &str| {
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    };
    let start = resident_kb(child.id());
    let is_small = |_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        resident_kb(child.id()) < start + start / 5
    };
    let mut sizes = Vec::new();
    for _ in 0..6 {
        send("HUP");
        assert!(lines.any(|line| line.contains("reloaded eams=200000")), "it reloads");
        // The old tables are freed once the worker has let go of them.
        if !(0..50).any(is_small) {
            sizes.push(resident_kb(child.id()));
        }
    }
    send("TERM");
    assert!(lines.any(|line| line.starts_with("counters ")));
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(sizes.is_empty(), "kilobytes after reloads: {sizes:?}; at the start: {start}");
}

#[test]
fn a_good_relay_translates_prints_its_counters_and_stops_when_asked() {
    if skip_without_root() {
        return;
    }
    for signal in ["TERM", "INT"] {
        let relay = Relay::good();
        let mut child = Command::new("unshare")
            .args(["--net", "--", BORDERLINE, "run", "--config"])
            .arg(relay.config())
            .current_dir(relay.directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let send = |signal: &str| {
            let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            assert!(status.unwrap().success());
        };
        assert!(lines.any(|line| line.contains("translating")), "it starts");
        send("USR1");
        let counters = lines.find_map(|line| line.strip_prefix("counters ").map(str::to_owned)).unwrap();
        let counters: serde_json::Value = serde_json::from_str(&counters).unwrap();
        for name in ["received", "originated", "sent", "punted", "dropped", "events", "workers", "kernel"] {
            assert!(counters.get(name).is_some(), "{name} is missing in {counters}");
        }
        send(signal);
        assert!(lines.any(|line| line.starts_with("counters ")), "the counters at the end");
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!(files(relay.directory.path()), ["relay.toml"]);
    }
}

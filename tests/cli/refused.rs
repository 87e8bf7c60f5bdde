//! A relay that cannot start says why in one sentence and leaves nothing behind.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::common::{BORDERLINE, Run};
use crate::lab::{Relay, Running, as_nobody, files, refused, skip_without_root};

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
    ] {
        Relay::new(device).refused(&words);
    }
    let words = ["Unknown role: boss", "correct the arguments of the device"];
    Relay::new("net_memif0,role=boss").refused_by_its_driver(&words);
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
fn too_few_files_are_named_before_anything_fails_for_want_of_them() {
    if skip_without_root() {
        return;
    }
    let relay = Relay::good();
    let words = ["prlimit", "--nofile=20:20"].map(OsStr::new);
    let run = Run::command(&mut relay.command_as(&[&words[..], &[OsStr::new(BORDERLINE)]].concat()));
    refused(&run, &["may open 20 files", "ulimit -n", "LimitNOFILE="]);
    // A low soft limit is raised.
    let raised = ["unshare", "--net", "--", "prlimit", "--nofile=20:1024", BORDERLINE];
    Running::begin(&relay.config(), &raised, &[]).translating().stop("TERM");
}

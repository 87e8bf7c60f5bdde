//! Without root: what is missing is named, and what is enough is enough.

use std::ffi::OsString;
use std::fs;

use crate::lab::{NOBODY, Relay, Running, as_nobody, refused, skip_without_root, with_capabilities};

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
        let program = relay.program_for_all();
        let nobody = NOBODY.parse().unwrap();
        std::os::unix::fs::chown(directory, Some(nobody), Some(nobody)).unwrap();
        let script = "ip link add blu type veth peer name blup && ip link set blu up && ip link set blup up && exec \"$@\"";
        let mut words: Vec<OsString> = ["unshare", "--net", "sh", "-c", script, "sh"].map(Into::into).into();
        words.extend(with_capabilities(capabilities, &program));
        let running = Running::begin(&config, &words, &[]).translating();
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
        running.stop("TERM");
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

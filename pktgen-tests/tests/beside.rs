//! A relay beside others that want the same interfaces: neither harms the other.

use std::time::Duration;

use pktgen_tests::lab::{
    Daemon, Driver, Lab, Need, PATIENCE, Shape, TestResult, relay_binary, skip_unless, wait_until,
};

/// Opens the BPF program of that number and keeps it.
const HOLD: &str = "import ctypes, platform, sys, time\n\
    call = {'x86_64': 321, 'aarch64': 280}[platform.machine()]\n\
    by_id = (ctypes.c_uint32 * 3)(int(sys.argv[1]), 0, 0)\n\
    assert ctypes.CDLL(None, use_errno=True).syscall(call, 13, by_id, 12) >= 0\n\
    print('held', flush=True)\n\
    time.sleep(600)\n";

/// What a relay of that configuration says that must not start here.
fn refused(lab: &Lab, toml: &str) -> Result<String, pktgen_tests::lab::LabError> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("second.toml");
    std::fs::write(&path, toml)?;
    let program = relay_binary().expect("the laboratory needs it").display().to_string();
    let output = lab.relay_ns.cmd(&program).args("run --config").arg(path.display().to_string()).run()?;
    assert_eq!(output.status.code(), Some(1), "{}", output.text());
    Ok(output.text())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_second_relay_on_the_same_interfaces_is_refused_and_the_first_goes_on() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    let renamed = lab.config.to_toml().replace("\"v4\"", "\"w4\"").replace("\"v6\"", "\"w6\"");
    let said = refused(&lab, &renamed)?;
    let owner = format!("is in use by another borderline (process {})", lab.relay().pid());
    for interface in ["r4", "r6"] {
        assert!(said.contains(&format!("interface {interface} {owner}")), "{said}");
    }
    let said = refused(&lab, &lab.config.to_toml())?;
    assert!(said.contains("interface bl-v4 exists") && said.contains("interface bl-v6 exists"), "{said}");
    assert!(lab.pings(&lab.client, "192.0.2.1"), "the first hears as before");
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn an_interface_with_the_program_of_another_process_is_refused_and_left_alone() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("python3")]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    // A crashed relay leaves its program; whoever has it open now is somebody who lives by it.
    lab.take_relay().kill();
    let program = |lab: &Lab| {
        let shown = lab.relay_ns.ip("-d link show r4").unwrap_or_default();
        shown.split_once("xdp id ").and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned))
    };
    let before = program(&lab).expect("the crash leaves a program");
    let command = lab.relay_ns.cmd("python3").arg("-c").arg(HOLD).arg(&before);
    let mut other = Daemon::start("holder", &command, tempfile::tempdir()?)?;
    other.wait_for("its hold", |daemon| daemon.log().contains("held"))?;
    let said = refused(&lab, &lab.config.to_toml())?;
    let words =
        format!("interface r4 carries XDP program {before} (xsk_def_prog) of process {}", other.pid());
    assert!(said.contains(&words), "{said}");
    assert_eq!(program(&lab), Some(before), "it is still there");
    drop(other);
    // What is left over from a process that is gone keeps nobody away.
    lab.start_relay()?;
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    lab.assert_healthy()
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn a_port_that_loses_its_program_or_its_interface_is_told_of() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let mut lab = Lab::up(&Shape::default())?;
    assert_eq!(lab.config.driver, Driver::AfXdp);
    assert!(lab.pings(&lab.client, "192.0.2.1"));
    // Until it has seen the program it has.
    std::thread::sleep(Duration::from_millis(1500));
    lab.relay_ns.ip("link set dev r4 xdp off")?;
    let told = |lab: &mut Lab, words: &str| {
        let relay = lab.relay();
        wait_until(PATIENCE, || relay.log().contains(words))
    };
    assert!(told(&mut lab, "port v4: interface r4 has lost its XDP program"), "{}", lab.relay().log());
    lab.relay_ns.ip("link set r6 mtu 1400")?;
    assert!(told(&mut lab, "port v6: interface r6 has an MTU of 1400 bytes now"), "{}", lab.relay().log());
    lab.relay_ns.ip("link del r6")?;
    assert!(told(&mut lab, "the kernel interface r6 behind bl-v6 is gone"), "{}", lab.relay().log());
    let log = lab.relay().log();
    assert_eq!(log.matches("has lost its XDP program").count(), 1, "told once: {log}");
    let relay = lab.take_relay();
    let (status, _) = relay.stop()?;
    assert!(status.success(), "{status}");
    Ok(())
}

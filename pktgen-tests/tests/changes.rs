//! No packet sees half a change of the mappings, and none is lost to it.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use pktgen_tests::changes::circuit::Circuit;
use pktgen_tests::changes::moving;
use pktgen_tests::lab::{Cmd, Lab, Need, Shape, borderctl, is_quick, skip_unless};

fn table(number: u16) -> String {
    let mut csv = String::from("ipv4,ipv6\n");
    for (service, host) in moving::mappings(number) {
        writeln!(csv, "{service},{host}").ok();
    }
    csv
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn no_packet_sees_half_a_change() -> Result<(), Box<dyn Error>> {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let kept = tempfile::tempdir()?;
    let path = |name: &str| kept.path().join(name).display().to_string();
    let (socket, file) = (path("control.sock"), path("eams.csv"));
    let control = format!("\n[control]\nsocket = \"{socket}\"\nstore = \"{}\"\n", path("mappings.db"));
    let mut lab = Lab::up(&Shape { translation: control, ..Shape::default() })?;
    moving::lead_to_hosts(&lab)?;
    let ctl = borderctl().expect("it is built with the relay").display().to_string();
    let import = |number: u16| {
        fs::write(&file, table(number))?;
        let import = Cmd::new(&ctl).args("--socket").arg(&socket).args("eam import --replace").arg(&file);
        let output = import.run()?;
        assert!(output.success(), "{}", output.text());
        Ok::<_, Box<dyn Error>>(())
    };
    import(0)?;
    let circuit = Circuit::start(&lab)?;
    let commits = if is_quick() { 20 } else { 90 };
    let mut failed = None;
    for number in 1..=commits {
        if let Err(error) = import(number) {
            failed = Some(error);
            break;
        }
        // Packets of each table, also where one commit follows the other at once.
        thread::sleep(Duration::from_millis(u64::from(number % 3) * 10));
    }
    let passed = circuit.end()?;
    failed.map_or(Ok(()), Err)?;
    println!("{commits} commits: {passed:?}");
    assert_eq!(passed.lost, 0, "{passed:?}");
    for link in &passed.links {
        assert_eq!(link.newest, u64::from(commits), "the last table was seen: {link:?}");
        assert!(link.changes > u64::from(commits) / 2, "{link:?}");
    }
    assert!(passed.links[0].turned * 3 >= passed.sent, "{passed:?}");
    Ok(lab.assert_healthy()?)
}

//! What users of other translators met, as packets: `pktgen-tests/vectors/field.json`, each with the right answer.

use serde::Deserialize;

use super::pcap::{Pcap, RAW};
use super::{Work, bytes};

#[derive(Deserialize)]
struct Case {
    name: String,
    why: String,
    config_toml: String,
    ipv4_mtu: u16,
    ipv6_mtu: u16,
    r#in: Vec<Packet>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Packet {
    hex: String,
    /// Ranges of bytes that are free.
    #[serde(default)]
    mask: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct Expect {
    /// Everything that leaves, in order; not looked at where a verdict is all that is expected.
    out: Option<Vec<Packet>>,
    verdict: Option<String>,
}

impl Case {
    fn run(&self) -> Result<(), String> {
        let packets: Vec<Vec<u8>> = self.r#in.iter().map(|packet| bytes(&packet.hex)).collect();
        let work = Work::new(&self.config_toml, &Pcap::new(RAW, &packets).file());
        let options = [
            ("--ipv4-mtu", self.ipv4_mtu.to_string()),
            ("--ipv6-mtu", self.ipv6_mtu.to_string()),
            ("--ipv4-address", "198.51.100.254".to_owned()),
            ("--ipv6-address", "2001:db8:ffff::1".to_owned()),
        ];
        let options: Vec<String> =
            options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let done = work.translated(&options);
        if let Some(verdict) = &self.expect.verdict {
            let said = done.verdicts();
            if said.iter().any(|(said, _)| said != verdict) {
                return Err(format!("{said:?} instead of {verdict}"));
            }
        }
        let Some(expected) = &self.expect.out else { return Ok(()) };
        if expected.len() != done.out.len() {
            return Err(format!(
                "{} packets instead of {}: {:?}",
                done.out.len(),
                expected.len(),
                done.verdicts()
            ));
        }
        for (expected, got) in expected.iter().zip(&done.out) {
            let masked = |packet: &[u8]| {
                let mut packet = packet.to_vec();
                for (from, to) in &expected.mask {
                    packet[*from..*to].fill(0);
                }
                packet
            };
            let (wanted, got) = (bytes(&expected.hex), &got.bytes);
            if wanted.len() != got.len() || masked(&wanted) != masked(got) {
                return Err(format!("{got:02x?}\ninstead of {wanted:02x?}"));
            }
        }
        Ok(())
    }
}

#[test]
fn field_cases() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pktgen-tests/vectors/field.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| case.run().err().map(|why| format!("{} ({}): {why}", case.name, case.why)))
        .collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

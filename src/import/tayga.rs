//! TAYGA's tayga.conf, of 0.9.2 (2011, what Debian 12 has) and of the 0.9.x that followed since 2025.

use super::draft::{Draft, Mapping, list};
use super::{Refusals, is_yes, words};

pub(super) fn conf(text: &str, refusals: &mut Refusals) -> Draft {
    let mut draft = Draft::new("TAYGA", "siit");
    draft.set(
        "fragment_df",
        "\"ignore\"".to_owned(),
        "TAYGA does not respect DF on packets that are fragments",
    );
    draft.note(
        "TAYGA drops packets between two mapped hosts; hairpin = \"intrinsic\", the default, lets them talk",
    );
    for (number, line) in (1..).zip(text.lines()) {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Err(message) = directive(&mut draft, &words) {
            refusals.add(number, message);
        }
    }
    draft
}

fn directive(draft: &mut Draft, words: &[&str]) -> Result<(), String> {
    let Some((name, values)) = words.split_first() else { return Ok(()) };
    let name = name.to_ascii_lowercase();
    let one = || match values {
        [value] => Ok(*value),
        _ => Err(format!("{name} takes one value, not {}", values.len())),
    };
    let flag = || {
        one()
            .and_then(|value| is_yes(value).ok_or_else(|| format!("{name}: {value:?} is neither yes nor no")))
    };
    match name.as_str() {
        "map" => match values {
            [first, second] if first.contains(':') != second.contains(':') => {
                let (ipv4, ipv6) = if first.contains(':') { (second, first) } else { (first, second) };
                draft.eams.push(Mapping { ipv4: (*ipv4).to_owned(), ipv6: (*ipv6).to_owned(), comment: None });
            }
            _ => return Err("map takes an IPv4 and an IPv6 prefix".to_owned()),
        },
        "map-file" => draft.eam_files.push(one()?.to_owned()),
        "prefix" => draft.prefixes.push(one()?.to_owned()),
        "ipv4-addr" => {
            let why = "ipv4-addr: TAYGA gives this source to errors of routers that have no IPv4 address";
            draft.set("icmp_source_pool", list(&[one()?]), why);
            draft.note(format!(
                "ipv4-addr {}: give bl-v4 an address to answer ping and traceroute (ip addr add ... dev bl-v4)", one()?
            ));
        }
        "ipv6-addr" => draft.note(format!("ipv6-addr {}: give it to bl-v6 (ip -6 addr add {}/64 dev bl-v6)", one()?, one()?)),
        "wkpf-strict" => {
            let value = flag()?.to_string();
            draft.set("wkp_strict", value, "wkpf-strict");
        }
        "udp-cksum-mode" => {
            let choice = match one()?.to_ascii_lowercase().as_str() {
                "drop" => "\"drop\"",
                "fwd" => "\"forward\"",
                "calc" => "\"compute\"",
                other => return Err(format!("udp-cksum-mode: {other:?} is none of drop, fwd, calc")),
            };
            draft.set("udp_zero_checksum", choice.to_owned(), "udp-cksum-mode");
        }
        "offlink-mtu" => {
            let mtu: u16 = one()?.parse().map_err(|_| "offlink-mtu takes a number".to_owned())?;
            draft.set("lowest_ipv6_mtu", mtu.max(1280).to_string(), "offlink-mtu");
        }
        "dynamic-pool" => draft.note(format!(
            "dynamic-pool {}: TAYGA gave addresses to IPv6 hosts as they came and remembered them; a stateless relay cannot. \
             Give each host an [[eam]]; `dynamic.map` in the data-dir has those in use",
            one()?
        )),
        "tun-device" => draft.note(format!(
            "tun-device {}: each port has a kernel twin instead, bl-v4 and bl-v6, for its addresses and routes", one()?
        )),
        "data-dir" => draft.note(format!("data-dir {}: there is no state to keep", one()?)),
        "strict-frag-hdr" if flag()? => {
            draft.note("strict-frag-hdr on: RFC 7915 forbids Fragment headers on packets that are whole");
        }
        "strict-frag-hdr" => {}
        "log" => draft.note(format!("log {}: every drop has a counter with its reason instead", values.join(" "))),
        "tun-up" | "tun-ip" | "tun-route" => {
            draft.note(format!("{name} {}: for bl-v4 or bl-v6, with ip(8)", values.join(" ")));
        }
        "workers" | "threads" | "queues" => draft.note(format!("{name} {}: workers of [dpdk]", values.join(" "))),
        _ => return Err(format!("TAYGA has no directive {name:?}")),
    }
    Ok(())
}

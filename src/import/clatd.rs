//! clatd.conf: a host that reaches IPv4 through a prefix, which is what an Edge Relay does (RFC 7756).

use super::Refusals;
use super::draft::{Draft, Mapping, list};

/// Keys about the program itself.
const PROGRAM: &[&str] = &["quiet", "debug", "dns64-servers", "tayga-conffile", "ctmark"];
/// Keys about interfaces, routes and forwarding.
const LINUX: &[&str] = &[
    "clat-dev",
    "plat-dev",
    "forwarding-enable",
    "ip6tables-enable",
    "proxynd-enable",
    "script-up",
    "script-down",
    "v4-conncheck-enable",
    "v4-conncheck-delay",
];

/// What it says, by key.
#[derive(Default)]
struct Said {
    ipv4: Option<String>,
    ipv6: Option<String>,
    prefix: Option<String>,
    fallback: Option<String>,
    tayga: Option<String>,
}

pub(super) fn conf(text: &str, refusals: &mut Refusals) -> Draft {
    let mut draft = Draft::new("clatd", "er");
    let mut said = Said::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match line.split_once('=') {
            Some((key, value)) => {
                if let Err(message) = key_value(&mut draft, &mut said, key.trim(), value.trim()) {
                    refusals.add(number, message);
                }
            }
            None => refusals.add(number, format!("not a line `key=value`: {line}")),
        }
    }
    finish(draft, said)
}

fn key_value(draft: &mut Draft, said: &mut Said, key: &str, value: &str) -> Result<(), String> {
    let some = (!value.is_empty()).then(|| value.to_owned());
    match key {
        "clat-v4-addr" => said.ipv4 = some,
        // Two words that stand for an address clatd makes itself.
        "clat-v6-addr" => said.ipv6 = some.filter(|word| word != "derived" && word != "shared"),
        "plat-prefix" => said.prefix = some,
        "plat-fallback-prefix" => said.fallback = some,
        "tayga-v4-addr" => said.tayga = some,
        key if PROGRAM.contains(&key) || key.starts_with("cmd-") => {
            draft.note(format!("{key}={value}: about clatd itself"));
        }
        "v4-defaultroute-mtu" => draft.note(format!(
            "{key}={value}: the route's MTU stays with Linux; a larger one needs lowest_ipv6_mtu = 20 more"
        )),
        key if LINUX.contains(&key) || key.starts_with("v4-defaultroute-") => {
            draft.note(format!("{key}={value}: for Linux, with ip(8) and sysctl(8) on bl-v4 and bl-v6"));
        }
        key => return Err(format!("clatd has no key {key:?}")),
    }
    Ok(())
}

fn finish(mut draft: Draft, said: Said) -> Draft {
    let ipv4 = said.ipv4.unwrap_or_else(|| "192.0.0.1".to_owned());
    let ipv6 = said.ipv6.unwrap_or_else(|| {
        draft.note(
            "TO DO: clatd made up its IPv6 address; put the one you want in place of 2001:db8::c1a7 (er_addresses, [[eam]])",
        );
        "2001:db8::c1a7".to_owned()
    });
    let prefix = said.prefix.or(said.fallback).unwrap_or_else(|| {
        draft.note("TO DO: clatd asked DNS64 for the prefix; 64:ff9b::/96 stands in its place (RFC 7050: host ipv4only.arpa)");
        "64:ff9b::/96".to_owned()
    });
    draft.set("er_addresses", list(&[&ipv6]), "clat-v6-addr");
    let tayga = said.tayga.unwrap_or_else(|| "192.0.0.2".to_owned());
    draft.set(
        "icmp_source_pool",
        list(&[tayga]),
        "tayga-v4-addr: the source of errors of IPv6 routers, seen by traceroute",
    );
    draft.prefixes.push(prefix);
    draft.eams.push(Mapping { ipv4, ipv6, comment: Some("the applications of this host".to_owned()) });
    draft
}

//! Jool SIIT: its settings, and the JSON that has all of them (`jool_siit file handle`, Jool 3.5 to 4.1).

use serde_json::Value;

use super::draft::{Draft, Mapping, list};
use super::{Refusals, is_yes};

/// Settings of Jool NAT64 and MAP-T that a file may have, too.
const STATEFUL: &[&str] = &[
    "address-dependent-filtering",
    "drop-externally-initiated-tcp",
    "drop-icmpv6-info",
    "source-icmpv6-errors-better",
    "f-args",
    "handle-rst-during-fin-rcv",
    "tcp-est-timeout",
    "tcp-trans-timeout",
    "udp-timeout",
    "icmp-timeout",
    "logging-bib",
    "logging-session",
    "maximum-simultaneous-opens",
    "ss-enabled",
    "ss-flush-asap",
    "ss-flush-deadline",
    "ss-capacity",
    "ss-max-payload",
    "ss-max-sessions-per-packet",
    "mapt",
    "trace",
];

/// Jool with nothing set.
pub(super) fn draft() -> Draft {
    let mut draft = Draft::new("Jool SIIT", "siit");
    draft.note(
        "Jool translates packets whose source claims to be inside; anti_spoof, on by default, refuses them \
         (anti_spoof = false is Jool's way)",
    );
    draft
}

/// What all of the input decides.
pub(super) fn finish(mut draft: Draft) -> Draft {
    draft.settle();
    let prefixes = draft.prefixes.clone();
    if prefixes.iter().any(|prefix| prefix.starts_with("64:ff9b::")) {
        draft.set("wkp_strict", "false".to_owned(), "Jool does not enforce RFC 6052 section 3.1");
    }
    if draft.has("icmp_source_pool") && !draft.has("icmp_source_choice") {
        draft.set("icmp_source_choice", "\"random\"".to_owned(), "Jool's default");
    }
    if draft.has("type_of_service") && !draft.has("override") {
        // `tos` without `override-tos` does nothing.
        draft.unset("type_of_service");
    }
    draft.unset("override");
    draft
}

/// The JSON of `jool_siit file handle`.
pub(super) fn json(text: &str, refusals: &mut Refusals) -> Draft {
    let mut draft = draft();
    let root = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(root)) => root,
        Ok(_) => {
            refusals.add(1, "not an object, as Jool's configuration is");
            return draft;
        }
        Err(error) => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            refusals.add(error.line().max(1), format!("not JSON: {message}"));
            return draft;
        }
    };
    for (name, value) in &root {
        let line = line_of(text, name);
        match name.to_ascii_lowercase().as_str() {
            "comment" => {}
            "instance" => {
                draft.note(format!("instance {value}: one configuration is one relay, without a name"))
            }
            "framework" => draft
                .note(format!("framework {value}: packets come from ports, not from Netfilter or iptables")),
            "global" => match value.as_object() {
                Some(globals) => {
                    for (name, value) in globals {
                        let line = line_of(text, name);
                        if name.eq_ignore_ascii_case("comment") {
                            continue;
                        }
                        if let Err(message) = global(&mut draft, name, &flat(value)) {
                            refusals.add(line, message);
                        }
                    }
                }
                None => refusals.add(line, "`global` is no object"),
            },
            "eamt" => eamt(&mut draft, text, value, refusals),
            // Two names of one list, that may stand side by side.
            "denylist4" | "blacklist4" | "blacklist" => {
                let prefixes = flat(value);
                let prefixes = prefixes.split(',').map(str::trim).filter(|prefix| !prefix.is_empty());
                draft.listed("denylist").extend(prefixes.map(str::to_owned));
            }
            "pool6" | "pool6791" => {
                if let Err(message) = global(&mut draft, name, &flat(value)) {
                    refusals.add(line, message);
                }
            }
            "pool4" | "bib" => draft.note(format!("{name}: Jool NAT64 keeps state, this relay does not")),
            _ => refusals.add(line, format!("Jool SIIT has no {name:?}")),
        }
    }
    finish(draft)
}

/// One setting, whichever way it was given; lists come with commas, nothing as an empty text.
pub(super) fn global(draft: &mut Draft, name: &str, value: &str) -> Result<(), String> {
    let name = name.to_ascii_lowercase();
    let values: Vec<&str> = value.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
    let flag = || is_yes(value).ok_or_else(|| format!("{name}: {value:?} is neither true nor false"));
    let number = || {
        value
            .trim()
            .parse::<u32>()
            .map_err(|_| format!("{name}: {value:?} is no number"))
            .map(|n| n.to_string())
    };
    match name.as_str() {
        "pool6" => draft.prefixes = values.iter().map(ToString::to_string).collect(),
        "lowest-ipv6-mtu" => draft.set("lowest_ipv6_mtu", number()?, ""),
        "zeroize-traffic-class" if flag()? => draft.set("traffic_class", "0".to_owned(), "zeroize-traffic-class"),
        "zeroize-traffic-class" => draft.unset("traffic_class"),
        "override-tos" if flag()? => {
            if !draft.has("type_of_service") {
                draft.set("type_of_service", "0".to_owned(), "override-tos, with the default of tos");
            }
            draft.set("override", String::new(), "");
        }
        "override-tos" => draft.unset("override"),
        "tos" => draft.set("type_of_service", number()?, "override-tos and tos"),
        "mtu-plateaus" => plateaus(draft, &values)?,
        "amend-udp-checksum-zero" => {
            let choice = if flag()? { "\"compute\"" } else { "\"drop\"" };
            draft.set("udp_zero_checksum", choice.to_owned(), "amend-udp-checksum-zero");
        }
        "eam-hairpin-mode" => {
            let choice = match value.to_ascii_lowercase().as_str() {
                "off" | "0" => "\"off\"",
                "simple" | "1" => "\"simple\"",
                "intrinsic" | "2" => "\"intrinsic\"",
                _ => return Err(format!("{name}: {value:?} is none of off, simple, intrinsic")),
            };
            draft.set("hairpin", choice.to_owned(), "eam-hairpin-mode");
        }
        "randomize-rfc6791-addresses" => {
            let (choice, why) = if flag()? {
                ("\"random\"", "randomize-rfc6791-addresses")
            } else {
                ("\"hash\"", "Jool takes the address that the hop limit counts to; here each router keeps one of its own")
            };
            draft.set("icmp_source_choice", choice.to_owned(), why);
        }
        "rfc6791v4-prefix" | "pool6791" if values.is_empty() => draft.unset("icmp_source_pool"),
        "rfc6791v4-prefix" | "pool6791" => draft.set("icmp_source_pool", list(&values), name.clone()),
        "rfc6791v6-prefix" if values.is_empty() => {}
        "rfc6791v6-prefix" => draft.note(format!(
            "rfc6791v6-prefix {value}: errors of IPv4 routers come from their address in the prefix, or not at all"
        )),
        "denylist4" | "blacklist4" | "blacklist" if values.is_empty() => draft.unset("denylist"),
        "denylist4" | "blacklist4" | "blacklist" => draft.set("denylist", list(&values), name.clone()),
        "manually-enabled" if flag()? => {}
        "manually-enabled" => draft.note("manually-enabled false: do not start the relay"),
        "logging-debug" if !flag()? => {}
        "logging-debug" => draft.note("logging-debug: RUST_LOG=debug in the environment; no line per packet"),
        name if STATEFUL.contains(&name) => {
            draft.note(format!("{name} {value}: a setting of Jool NAT64 or MAP-T, which keep state or share addresses"));
        }
        name => return Err(format!("Jool SIIT has no setting {name:?}")),
    }
    Ok(())
}

/// Ours decrease strictly; Jool sorts its own.
fn plateaus(draft: &mut Draft, values: &[&str]) -> Result<(), String> {
    let numbers: Result<Vec<u16>, _> = values.iter().map(|value| value.parse()).collect();
    let mut numbers = numbers.map_err(|_| format!("mtu-plateaus: {values:?} are not all MTUs"))?;
    numbers.sort_unstable_by(|left, right| right.cmp(left));
    numbers.dedup();
    let too_small = numbers.iter().any(|plateau| *plateau < 68);
    numbers.retain(|plateau| *plateau >= 68);
    if too_small {
        draft.note("mtu-plateaus below 68, the smallest IPv4 MTU, are left out");
    }
    let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    draft.set("mtu_plateaus", format!("[{}]", texts.join(", ")), "");
    Ok(())
}

fn eamt(draft: &mut Draft, text: &str, value: &Value, refusals: &mut Refusals) {
    let Some(rows) = value.as_array() else {
        refusals.add(line_of(text, "eamt"), "`eamt` is no list");
        return;
    };
    for (number, row) in rows.iter().enumerate() {
        let member = |name: &str| {
            let row = row.as_object()?;
            row.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let prefix = |name| member(name).and_then(Value::as_str).map(str::to_owned);
        match (prefix("ipv4 prefix"), prefix("ipv6 prefix")) {
            (Some(ipv4), Some(ipv6)) => {
                let comment = member("comment").and_then(Value::as_str).map(str::to_owned);
                draft.eams.push(Mapping { ipv4, ipv6, comment });
            }
            _ => {
                let message =
                    format!("row {} of `eamt` has not both \"ipv4 prefix\" and \"ipv6 prefix\"", number + 1);
                refusals.add(line_of(text, "eamt"), message);
            }
        }
    }
}

/// A value as a command line would give it.
fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(flat).collect::<Vec<_>>().join(","),
        // Jool 3 wrote {"prefix": "64:ff9b::/96"}.
        Value::Object(members) => members.values().map(flat).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The line of a name's first use as a key; the first line when it is written with escapes.
fn line_of(text: &str, name: &str) -> usize {
    let at = text.find(&format!("\"{name}\"")).unwrap_or(0);
    text[..at].matches('\n').count() + 1
}

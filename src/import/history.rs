//! Jool SIIT, as a script or history of `jool_siit` commands: what is left at their end.

use super::draft::{Draft, Mapping};
use super::{Refusals, jool, words};

/// Commands around Jool's whose effect Linux keeps, or that are about Netfilter.
const LINUX: &[&str] = &[
    "ip",
    "sysctl",
    "ethtool",
    "iptables",
    "ip6tables",
    "nft",
    "rmmod",
    "insmod",
    "systemctl",
    "service",
    "echo",
    "set",
    "cd",
    "exit",
    "ping",
    "ping6",
    "dmesg",
    "apt",
    "apt-get",
    "history",
    "clear",
];

/// The words that change nothing.
const READING: &[&str] = &["display", "status", "query", "stats", "help", "version"];

pub(super) fn commands(text: &str, refusals: &mut Refusals) -> Draft {
    let mut state = State { draft: jool::draft(), instance: None };
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with('#') {
            if line.contains("jool_siit ") {
                state.draft.note(format!("line {number} is a comment and was left out: {}", line.trim()));
            }
            continue;
        }
        let words = words(line);
        if let Err(message) = state.command(number, line.trim(), &words) {
            refusals.add(number, message);
        }
    }
    jool::finish(state.draft)
}

struct State {
    draft: Draft,
    /// The instance the commands are about.
    instance: Option<String>,
}

impl State {
    fn command(&mut self, number: usize, line: &str, words: &[String]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_prompt = |word: &&str| {
            *word == "sudo"
                || word.ends_with(['$', '#', '>'])
                || word.bytes().all(|byte| byte.is_ascii_digit())
        };
        let start = words.iter().position(|word| !is_prompt(word)).unwrap_or(words.len());
        let Some((program, rest)) = words[start..].split_first() else { return Ok(()) };
        match program.rsplit('/').next().unwrap_or_default() {
            "jool_siit" => self.jool(line, rest),
            "instance" | "global" | "eamt" | "denylist4" | "blacklist4" | "pool6" | "pool6791" => {
                self.jool(line, &words[start..])
            }
            "modprobe" if rest.contains(&"jool_siit") => self.module(rest),
            "modprobe" => Ok(()),
            program if LINUX.contains(&program) => {
                self.draft.note(format!("line {number} is for Linux, if it is still needed: {line}"));
                Ok(())
            }
            _ => Err(format!("not a jool_siit command: {line}")),
        }
    }

    /// Jool 3 took its settings as parameters of the module.
    fn module(&mut self, parameters: &[&str]) -> Result<(), String> {
        for parameter in parameters {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            match name {
                "disabled" | "no_instance" => {}
                name => jool::global(&mut self.draft, name, value)?,
            }
        }
        Ok(())
    }

    fn jool(&mut self, line: &str, words: &[&str]) -> Result<(), String> {
        let (mut plain, mut framework, mut pool6) = (Vec::new(), None, None);
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "-i" | "--instance" => {
                    let name = words.next().ok_or("-i without a name")?;
                    self.about(name)?;
                }
                "--netfilter" | "--iptables" => framework = Some(word),
                "-f" | "--force" | "-q" | "--quick" | "--csv" | "--no-headers" => {}
                "-6" => pool6 = Some(words.next().ok_or("-6 without a prefix")?),
                // Of `instance add`; `--pool6 --add` is Jool 3's.
                "--pool6" if plain.first() == Some(&"instance") => {
                    pool6 = Some(words.next().ok_or("--pool6 without a prefix")?);
                }
                word => match word.split_once('=') {
                    Some(("--pool6", prefix)) => pool6 = Some(prefix),
                    Some(("--instance", name)) => self.about(name)?,
                    _ => plain.push(word.strip_prefix("--").unwrap_or(word)),
                },
            }
        }
        if let Some(framework) = framework {
            let framework = framework.trim_start_matches('-');
            self.draft.note(format!("{framework}: packets come from ports, not from Netfilter or iptables"));
        }
        if let Some(prefix) = pool6 {
            jool::global(&mut self.draft, "pool6", prefix)?;
        }
        self.operation(line, &plain)
    }

    fn operation(&mut self, line: &str, words: &[&str]) -> Result<(), String> {
        let draft = &mut self.draft;
        match words {
            [] => Ok(()),
            [_, reading, ..] if READING.contains(reading) => Ok(()),
            [reading, ..] if READING.contains(reading) || *reading == "address" => Ok(()),
            ["instance", "add"] => Ok(()),
            ["instance", "add", name] => self.about(name),
            ["instance", "remove" | "flush", ..] => {
                *self = Self { draft: jool::draft(), instance: None };
                Ok(())
            }
            ["global", "update", name, value @ ..] if !value.is_empty() => {
                let value = value.join(",");
                jool::global(draft, name, if value == "null" { "" } else { &value })
            }
            ["eamt", "add", first, second] => {
                let (ipv4, ipv6) = sorted(first, second).ok_or_else(|| not_a_pair(line))?;
                draft.eams.push(Mapping { ipv4, ipv6, comment: None });
                Ok(())
            }
            ["eamt", "remove", prefixes @ ..] if !prefixes.is_empty() => self.remove(prefixes),
            ["eamt", "flush"] => {
                draft.eams.clear();
                Ok(())
            }
            ["pool6", "add" | "update", prefix] => jool::global(draft, "pool6", prefix),
            ["pool6", "remove" | "flush", ..] => jool::global(draft, "pool6", ""),
            ["denylist4" | "blacklist4" | "blacklist", operation, prefixes @ ..] => {
                self.listed("denylist", operation, prefixes, line)
            }
            ["pool6791" | "pool6791v4", operation, prefixes @ ..] => {
                self.listed("icmp_source_pool", operation, prefixes, line)
            }
            ["file", ..] => {
                draft.note(format!("import that file on its own, too: {line}"));
                Ok(())
            }
            _ => Err(format!("not understood: {line}")),
        }
    }

    /// Mappings and settings of two instances are two configurations.
    fn about(&mut self, name: &str) -> Result<(), String> {
        match &self.instance {
            Some(other) if other != name => Err(format!(
                "instance {name:?} after {other:?}: give the commands of one instance at a time, each makes a relay of its own"
            )),
            Some(_) => Ok(()),
            None => {
                self.instance = Some(name.to_owned());
                Ok(())
            }
        }
    }

    /// Either prefix of a mapping, or both, name it.
    fn remove(&mut self, prefixes: &[&str]) -> Result<(), String> {
        let before = self.draft.eams.len();
        let names =
            |mapping: &Mapping, prefix: &&str| same(&mapping.ipv4, prefix) || same(&mapping.ipv6, prefix);
        self.draft.eams.retain(|mapping| !prefixes.iter().all(|prefix| names(mapping, prefix)));
        if self.draft.eams.len() == before {
            return Err(format!("no mapping was added with {}", prefixes.join(" ")));
        }
        Ok(())
    }

    fn listed(
        &mut self,
        key: &'static str,
        operation: &str,
        prefixes: &[&str],
        line: &str,
    ) -> Result<(), String> {
        let list = self.draft.listed(key);
        let is_named = |prefix: &String| prefixes.iter().any(|name| same(name, prefix));
        match (operation, prefixes) {
            ("add", [_, ..]) => list.extend(prefixes.iter().map(ToString::to_string)),
            ("remove", [_, ..]) if list.iter().any(is_named) => list.retain(|prefix| !is_named(prefix)),
            ("remove", [_, ..]) => return Err(format!("was not added before: {line}")),
            ("flush", _) => list.clear(),
            _ => return Err(format!("not understood: {line}")),
        }
        Ok(())
    }
}

fn not_a_pair(line: &str) -> String {
    format!("one IPv4 and one IPv6 prefix are expected: {line}")
}

/// An IPv4 and an IPv6 prefix, in that order.
fn sorted(first: &str, second: &str) -> Option<(String, String)> {
    match (first.contains(':'), second.contains(':')) {
        (false, true) => Some((first.to_owned(), second.to_owned())),
        (true, false) => Some((second.to_owned(), first.to_owned())),
        _ => None,
    }
}

/// Whether two texts are the same prefix, a bare address being one.
fn same(left: &str, right: &str) -> bool {
    let parse = |text: &str| {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: std::net::IpAddr = address.parse().ok()?;
        let full = if address.is_ipv4() { 32_u8 } else { 128 };
        Some((address, if length.is_empty() { full } else { length.parse().ok()? }))
    };
    parse(left).is_some_and(|prefix| Some(prefix) == parse(right))
}

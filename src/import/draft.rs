//! A configuration in the making, and its text.

use std::fmt::Write;

use shown::{Shown, is_obeyed};

/// A mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) ipv4: String,
    pub(super) ipv6: String,
    pub(super) comment: Option<String>,
}

/// What was understood of another translator's configuration.
#[derive(Debug)]
pub(super) struct Draft {
    program: &'static str,
    role: &'static str,
    pub(super) prefixes: Vec<String>,
    /// Keys of `[translation]` with their values as TOML and the reason for them.
    settings: Vec<(&'static str, String, String)>,
    /// What has no counterpart.
    notes: Vec<String>,
    /// Prefixes that came one by one, by key.
    listed: Vec<(&'static str, Vec<String>)>,
    /// Lines at the top of the file.
    pub(super) eam_files: Vec<String>,
    pub(super) eams: Vec<Mapping>,
}

impl Draft {
    pub(super) fn new(program: &'static str, role: &'static str) -> Self {
        Self {
            program,
            role,
            prefixes: Vec::new(),
            settings: Vec::new(),
            notes: Vec::new(),
            listed: Vec::new(),
            eam_files: Vec::new(),
            eams: Vec::new(),
        }
    }

    /// Sets a key of `[translation]`; a later value replaces an earlier one.
    pub(super) fn set(&mut self, key: &'static str, value: String, why: impl Into<String>) {
        self.unset(key);
        self.settings.push((key, value, why.into()));
    }

    pub(super) fn unset(&mut self, key: &'static str) {
        self.settings.retain(|(known, ..)| *known != key);
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.settings.iter().any(|(known, ..)| *known == key)
    }

    /// The prefixes of a key whose prefixes come one by one.
    pub(super) fn listed(&mut self, key: &'static str) -> &mut Vec<String> {
        let at = self.listed.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.listed.push((key, Vec::new()));
            self.listed.len() - 1
        });
        &mut self.listed[at].1
    }

    /// Turns what came one by one into settings.
    pub(super) fn settle(&mut self) {
        for (key, prefixes) in std::mem::take(&mut self.listed) {
            if !prefixes.is_empty() {
                self.set(key, list(&prefixes), "");
            }
        }
    }

    /// Something that has no counterpart, or that the operator has to do.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The configuration; `file` is what it was made from.
    pub(super) fn toml(&self, file: &str) -> String {
        let mut text = String::new();
        self.write(&mut text, file).expect("texts take everything");
        text
    }

    fn write(&self, text: &mut String, file: &str) -> std::fmt::Result {
        writeln!(text, "# Made from {} of {} by `borderline import`.", one_line(file), self.program)?;
        if !self.notes.is_empty() {
            writeln!(text, "#\n# Without a counterpart, or for you to do:")?;
            for note in &self.notes {
                writeln!(text, "# - {}", one_line(note))?;
            }
        }
        if !self.eam_files.is_empty() {
            writeln!(text, "\neam_files = {}", list(&self.eam_files))?;
        }
        text.push_str(MACHINE);
        writeln!(text, "\n[translation]\nrole = {}", quoted(self.role))?;
        writeln!(text, "prefixes = {}", list(&self.prefixes))?;
        for (key, value, why) in &self.settings {
            if !why.is_empty() {
                writeln!(text, "# {}", one_line(why))?;
            }
            writeln!(text, "{key} = {value}")?;
        }
        for Mapping { ipv4, ipv6, comment } in &self.eams {
            writeln!(text, "\n[[eam]]\nipv4 = {}\nipv6 = {}", quoted(ipv4), quoted(ipv6))?;
            if let Some(comment) = comment {
                writeln!(text, "comment = {}", quoted(comment))?;
            }
        }
        Ok(())
    }
}

/// What no other translator's configuration has.
const MACHINE: &str = "
# TO DO: the CPUs and cards of the machine. Everything else came from the file.
[dpdk]
workers = [1]
memory = \"no-huge\"

[[port]]
name = \"v4\"
device = \"net_af_xdp0,iface=eth1\"

[[port]]
name = \"v6\"
device = \"net_af_xdp1,iface=eth2\"
";

/// A text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if is_obeyed(character) => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of texts as TOML has it.
pub(super) fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// A comment must not go on as configuration.
fn one_line(text: &str) -> String {
    Shown(text).to_string()
}

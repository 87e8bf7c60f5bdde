//! Other people's files, as changes the relay understands.
//!
//! Only shapes are read here: which part of a line is what. Whether an address is one is the relay's to say, which names the line
//! that comes with each change.

mod json;
mod rows;

use control_api::{Change, Code, Finding, Refusal};

use crate::args::Format;
use crate::error::{Error, Result};

/// Findings that are told one by one.
const LISTED: usize = 100;

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Read<'t> {
    pub(crate) changes: Vec<Change<'t>>,
    /// Lines that say something else, and may.
    pub(crate) skipped: u64,
    /// Mappings that say that the configuration or one of its files has them.
    pub(crate) configured: u64,
    findings: Vec<Finding>,
    more: u64,
}

impl Read<'_> {
    /// Notes a line that cannot be read.
    fn refuse(&mut self, line: u32, value: &str, message: &str, remedy: &str) {
        if self.findings.len() < LISTED {
            let value = value.chars().take(100).collect();
            let (message, remedy) = (message.to_owned(), remedy.to_owned());
            self.findings.push(Finding { line: Some(line), value, message, remedy });
        } else {
            self.more += 1;
        }
    }
}

/// Reads a file of that format.
pub(crate) fn read(bytes: &[u8], format: Format) -> Result<Read<'_>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("line {line} is not UTF-8");
        Error::from(Refusal::new(Code::Refused, message, "save the file as UTF-8"))
    })?;
    let mut read = Read::default();
    match format {
        Format::Csv => rows::table(text, &mut read),
        Format::Jool => json::jool(text, &mut read),
        Format::Tayga => rows::tayga(text, &mut read),
        Format::Lines => json::lines(text, &mut read),
        Format::Auto => match guess(text) {
            Format::Tayga => rows::tayga(text, &mut read),
            Format::Jool => json::jool(text, &mut read),
            Format::Lines => json::lines(text, &mut read),
            Format::Csv | Format::Auto => rows::table(text, &mut read),
        },
    }
    if read.findings.is_empty() {
        return Ok(read);
    }
    let count = read.findings.len() as u64 + read.more;
    let message = match &read.findings[..] {
        [only] => format!("{}: {}", only.value, only.message),
        _ => format!("{count} lines of the file cannot be read"),
    };
    let mut refusal = Refusal::new(Code::Refused, message, "correct them; nothing was changed");
    if let ([only], 0) = (&read.findings[..], read.more) {
        refusal.remedy.clone_from(&only.remedy);
    }
    (refusal.findings, refusal.more) = (read.findings, read.more);
    Err(refusal.into())
}

/// What a file seems to be, by its first line that says something.
fn guess(text: &str) -> Format {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = first else { return Format::Csv };
    if first.starts_with('{') {
        let is_line = serde_json::from_str::<Change<'_>>(first).is_ok();
        return if is_line { Format::Lines } else { Format::Jool };
    }
    let words = [
        "map",
        "tun-device",
        "ipv4-addr",
        "ipv6-addr",
        "prefix",
        "dynamic-pool",
        "data-dir",
        "strict-frag-hdr",
    ];
    let word = first.split_whitespace().next().unwrap_or_default();
    if words.contains(&word) { Format::Tayga } else { Format::Csv }
}

//! Bodies: read as they come, line by line, within limits of size and time.

use std::hash::{DefaultHasher, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use axum::body::Body;
use control_api::{Change, Code, Finding, Op, Refusal};
use http_body_util::BodyExt;
use ipnet::{Ipv4Net, Ipv6Net};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::mappings::{Edit, Target};
use crate::reply::refused;
use crate::serve::Limits;

/// Findings that are told one by one.
pub(crate) const LISTED: usize = 100;
/// Longest line of a request.
const LINE: usize = 4096;

/// Bytes that every connection may have in memory: a body that is not larger needs no turn to be received.
const SMALL: usize = 1_000_000;

/// The changes of a request, one JSON object a line, and a hash of the bytes.
pub(crate) type Edits = (Vec<Edit>, u64);

/// As much of a body of changes as may be received at any time.
pub(crate) enum Begun<'l> {
    /// All of it.
    Small(Vec<u8>),
    /// The beginning of one whose rest has to wait for its turn.
    Large(Large<'l>),
}

/// See [`Begun`].
pub(crate) struct Large<'l> {
    reader: Reader<'l>,
    beginning: Vec<u8>,
}

/// Receives a body up to its end, or until it is a large one.
pub(crate) async fn begin(body: Body, limits: &Limits) -> Result<Begun<'_>, Refusal> {
    let mut reader = Reader { body, limits, started: Instant::now(), received: 0 };
    let mut beginning = Vec::new();
    while let Some(bytes) = reader.next().await? {
        beginning.extend_from_slice(&bytes);
        if beginning.len() > SMALL {
            return Ok(Begun::Large(Large { reader, beginning }));
        }
    }
    Ok(Begun::Small(beginning))
}

impl Large<'_> {
    /// Receives the rest. The time it waited for that is not its own.
    pub(crate) async fn edits(self) -> Result<Edits, Refusal> {
        let Self { mut reader, beginning } = self;
        let (mut lines, mut hasher) = (Lines::default(), DefaultHasher::new());
        reader.started = Instant::now();
        let mut next = Some(axum::body::Bytes::from(beginning));
        while let Some(bytes) = next {
            hasher.write(&bytes);
            lines.feed(&bytes, reader.limits)?;
            next = reader.next().await?;
        }
        Ok((lines.finish()?, hasher.finish()))
    }
}

/// The changes of a body that is there.
pub(crate) fn edits(bytes: &[u8], limits: &Limits) -> Result<Edits, Refusal> {
    let (mut lines, mut hasher) = (Lines::default(), DefaultHasher::new());
    hasher.write(bytes);
    lines.feed(bytes, limits)?;
    Ok((lines.finish()?, hasher.finish()))
}

/// One JSON object, of so many bytes at most.
pub(crate) async fn object<T: DeserializeOwned>(
    body: Body,
    limits: &Limits,
    most: usize,
) -> Result<T, Refusal> {
    let mut reader = Reader { body, limits, started: Instant::now(), received: 0 };
    let mut bytes = Vec::new();
    while let Some(more) = reader.next().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() > most {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("the body is larger than {most} bytes"),
                "send one question, about one packet",
            ));
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::new(
            Code::InvalidRequest,
            format!("the body is no question: {error}"),
            "send one JSON object, as /v1/openapi.json describes it",
        )
    })
}

/// Reads a body to its end that has nothing to say.
pub(crate) async fn nothing(body: Body, limits: &Limits) -> Result<(), Refusal> {
    let mut reader = Reader { body, limits, started: Instant::now(), received: 0 };
    while let Some(bytes) = reader.next().await? {
        if !bytes.is_empty() {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "this request has a body, and none is expected",
                "send what it says as parameters of the path, as /v1/openapi.json describes",
            ));
        }
    }
    Ok(())
}

struct Reader<'l> {
    body: Body,
    limits: &'l Limits,
    started: Instant,
    received: u64,
}

impl Reader<'_> {
    async fn next(&mut self) -> Result<Option<axum::body::Bytes>, Refusal> {
        loop {
            // So much time in any case, and more for as much as has come: a trickle ends.
            let earned = self.received.saturating_mul(1000) / self.limits.body_bytes_per_second.max(1);
            let deadline = self.started + self.limits.body_time + std::time::Duration::from_millis(earned);
            let frame = timeout_at(deadline, self.body.frame()).await.map_err(|_| self.too_slow())?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Refusal::new(
                    Code::InvalidRequest,
                    format!("the body broke off after {} bytes: {error}", self.received),
                    "send it whole",
                )
            })?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.received += bytes.len() as u64;
            if self.received > self.limits.body_bytes {
                return Err(too_large(self.limits));
            }
            return Ok(Some(bytes));
        }
    }

    fn too_slow(&self) -> Refusal {
        Refusal::new(
            Code::Timeout,
            format!("{} bytes of the body came in {} s", self.received, self.started.elapsed().as_secs()),
            "send it faster",
        )
    }
}

/// The answer to a body over the limit.
pub(crate) fn too_large(limits: &Limits) -> Refusal {
    Refusal::new(
        Code::TooLarge,
        format!("the body is larger than {} bytes", limits.body_bytes),
        "send it in parts: each is committed on its own, or stage them and commit once",
    )
}

/// Lines as far as they have come.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    number: u32,
    edits: Vec<Edit>,
    findings: Vec<Finding>,
    more: u64,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            if self.rest.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                self.rest = whole;
            }
            bytes = &after[1..];
            if self.edits.len() > limits.changes {
                return Err(Refusal::new(
                    Code::TooLarge,
                    format!("more than {} changes at once", limits.changes),
                    "send them in parts",
                ));
            }
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > LINE {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!("line {} is longer than {LINE} bytes", self.number + 1),
                "send one JSON object a line",
            ));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Edit>, Refusal> {
        let last = std::mem::take(&mut self.rest);
        self.line(&last);
        if self.findings.is_empty() {
            return Ok(self.edits);
        }
        Err(refused(self.findings, self.more))
    }

    fn line(&mut self, line: &[u8]) {
        self.number += 1;
        if line.trim_ascii().is_empty() {
            return;
        }
        match edit(line) {
            Ok(edit) => self.edits.push(edit),
            Err(mut finding) => {
                finding.line = finding.line.or(Some(self.number));
                if self.findings.len() < LISTED {
                    self.findings.push(finding);
                } else {
                    self.more += 1;
                }
            }
        }
    }
}

fn edit(line: &[u8]) -> Result<Edit, Finding> {
    let change: Change<'_> = serde_json::from_slice(line).map_err(|error| {
        let value = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        finding(
            &value,
            format!("is not a change: {error}"),
            r#"write {"op":"add","ipv4":"192.0.2.1","ipv6":"2001:db8::1"}"#,
        )
    })?;
    read(&change).map_err(|mut finding| {
        finding.line = change.line;
        finding
    })
}

/// What a change says, with its addresses read.
fn read(change: &Change<'_>) -> Result<Edit, Finding> {
    let mut ipv4 = None;
    let mut auto = false;
    match change.ipv4.as_deref() {
        Some(Change::AUTO) if change.op != Op::Remove => auto = true,
        Some(text) => ipv4 = Some(ipv4_prefix(text)?),
        None => {}
    }
    let ipv6 = change.ipv6.as_deref().map(ipv6_prefix).transpose()?;
    let target = match (change.op, ipv4, auto, ipv6) {
        (Op::Remove, Some(ipv4), _, ipv6) => Target::Remove { ipv4: Some(ipv4), ipv6 },
        (Op::Remove, None, _, Some(ipv6)) => Target::Remove { ipv4: None, ipv6: Some(ipv6) },
        (Op::Add, Some(ipv4), _, Some(ipv6)) => Target::Add { ipv4, ipv6 },
        (Op::Set, Some(ipv4), _, Some(ipv6)) => Target::Set { ipv4, ipv6 },
        (Op::Add | Op::Set, None, true, Some(ipv6)) => Target::Auto { ipv6 },
        (Op::Remove, None, _, None) => {
            return Err(finding("", "names no mapping".into(), "give `ipv4` or `ipv6`"));
        }
        (Op::Add | Op::Set, _, _, _) => {
            return Err(finding("", "is half a mapping".into(), "give `ipv4` and `ipv6`"));
        }
    };
    if let (Some(ipv4), Some(ipv6)) = (ipv4, ipv6)
        && change.op != Op::Remove
        && 32 - ipv4.prefix_len() > 128 - ipv6.prefix_len()
    {
        return Err(finding(
            &format!("{ipv4} = {ipv6}"),
            "has more IPv4 than IPv6 addresses (RFC 7757 3.2)".into(),
            "make the IPv6 prefix shorter or the IPv4 prefix longer",
        ));
    }
    Ok(Edit { target, comment: change.comment.as_deref().map(Into::into), line: change.line })
}

fn finding(value: &str, message: String, remedy: &str) -> Finding {
    Finding { line: None, value: value.to_owned(), message, remedy: remedy.to_owned() }
}

/// An IPv4 prefix, or an address.
pub(crate) fn ipv4_prefix(text: &str) -> Result<Ipv4Net, Finding> {
    let net = match text.split_once('/') {
        None => Ipv4Addr::from_str(text).ok().map(Ipv4Net::from),
        Some(_) => Ipv4Net::from_str(text).ok(),
    };
    let net = net.ok_or_else(|| {
        finding(text, "is not an IPv4 address or prefix".into(), "write it as 192.0.2.1 or 192.0.2.0/28")
    })?;
    if net.trunc() == net {
        Ok(net)
    } else {
        let remedy = format!("write {}, or {} for the one address", net.trunc(), net.addr());
        Err(finding(text, "has bits behind its length".into(), &remedy))
    }
}

/// An IPv6 prefix, or an address.
pub(crate) fn ipv6_prefix(text: &str) -> Result<Ipv6Net, Finding> {
    let net = match text.split_once('/') {
        None => Ipv6Addr::from_str(text).ok().map(Ipv6Net::from),
        Some(_) => Ipv6Net::from_str(text).ok(),
    };
    let net = net.ok_or_else(|| {
        finding(text, "is not an IPv6 address or prefix".into(), "write it as 2001:db8::1 or 2001:db8::/64")
    })?;
    if net.trunc() == net {
        Ok(net)
    } else {
        let remedy = format!("write {}, or {} for the one address", net.trunc(), net.addr());
        Err(finding(text, "has bits behind its length".into(), &remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<Edit>, Refusal> {
        let mut lines = Lines::default();
        // Torn anywhere.
        for byte in text.as_bytes().chunks(7) {
            lines.feed(byte, &Limits::default())?;
        }
        lines.finish()
    }

    #[test]
    fn changes_are_read_a_line_at_a_time() {
        let edits = lines(
            "{\"ipv4\":\"192.0.2.1\",\"ipv6\":\"2001:db8::1\",\"owner\":\"store\",\"comment\":\"a\\\"b\"}\n\n\
             {\"op\":\"remove\",\"ipv6\":\"2001:db8::2/128\",\"line\":9}\n{\"ipv4\":\"auto\",\"ipv6\":\"2001:db8::3\"}",
        )
        .unwrap();
        assert_eq!(edits.len(), 3);
        let (ipv4, ipv6) = ("192.0.2.1/32".parse().unwrap(), "2001:db8::1/128".parse().unwrap());
        assert_eq!(edits[0].target, Target::Add { ipv4, ipv6 });
        assert_eq!(edits[0].comment.as_deref(), Some("a\"b"));
        assert_eq!(edits[1].line, Some(9));
        assert!(matches!(edits[2].target, Target::Auto { .. }));
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number_value_and_remedy() {
        let refusal = lines(
            "{\"ipv4\":\"192.0.2.300\",\"ipv6\":\"2001:db8::1\"}\n{\"ipv4\":\"192.0.2.1\"}\n{\"ipv5\":1}\nno\n\
             {\"ipv4\":\"192.0.2.1/24\",\"ipv6\":\"2001:db8::1\",\"line\":77}\n{\"op\":\"remove\"}\n\
             {\"ipv4\":\"10.0.0.0/8\",\"ipv6\":\"2001:db8::/120\"}\n",
        )
        .unwrap_err();
        assert_eq!(refusal.code, Code::Refused);
        let told: Vec<_> = refusal.findings.iter().map(|finding| finding.line.unwrap()).collect();
        assert_eq!(told, [1, 2, 3, 4, 77, 6, 7]);
        assert_eq!(refusal.findings[0].value, "192.0.2.300");
        assert!(refusal.findings.iter().all(|finding| !finding.remedy.is_empty()));
        assert!(refusal.findings[4].remedy.contains("192.0.2.0/24"));
    }

    #[test]
    fn findings_and_lines_are_bounded() {
        let refusal = lines(&"nonsense\n".repeat(LISTED + 5)).unwrap_err();
        assert_eq!((refusal.findings.len(), refusal.more), (LISTED, 5));
        assert_eq!(lines(&"x".repeat(LINE + 8)).unwrap_err().code, Code::InvalidRequest);
    }
}

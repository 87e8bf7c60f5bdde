//! HTTP/1.1 over a Unix stream socket, blocking: one request a connection. No runtime, so that a verb takes milliseconds.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control_api::Refusal;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// How long an answer may take: a million mappings are checked and made durable in less.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes that are written between two steps of a progress bar.
const STEP: usize = 256 * 1024;
/// Longest line of a head.
const LINE: u64 = 64 * 1024;

/// Where the relay is.
pub(crate) struct Client {
    place: Place,
}

/// A socket of this machine, or one that is forwarded to.
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

/// Both directions of a connection.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A request.
pub(crate) struct Request<'r> {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: &'r [u8],
}

/// The beginning of an answer; the rest is read from it.
pub(crate) struct Response {
    status: u16,
    body: Body,
}

enum Body {
    /// So many bytes are left.
    Length(io::Take<BufReader<Box<dyn Stream>>>),
    /// Chunks; so many bytes are left of this one.
    Chunked { stream: BufReader<Box<dyn Stream>>, left: u64, ended: bool },
}

impl<'r> Request<'r> {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    fn new(method: &'static str, path: &str) -> Self {
        Self { method, target: path.to_owned(), headers: Vec::new(), body: &[] }
    }

    /// Adds a parameter, if it has a value.
    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.target.push(if self.target.contains('?') { '&' } else { '?' });
            self.target.push_str(name);
            self.target.push('=');
            escape(&value.to_string(), &mut self.target);
        }
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: &'r [u8]) -> Self {
        self.body = body;
        self
    }
}

/// Everything but letters, digits and a few marks becomes %XX.
fn escape(text: &str, target: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:,".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { place: Place::Unix(socket.to_owned()) }
    }

    /// At a path, or at `http://HOST:PORT`.
    pub(crate) fn at(place: &str) -> Result<Self> {
        let Some(rest) = place.strip_prefix("http://") else {
            return if place.contains("://") {
                Err(Error::Usage(format!("{place:?} is neither a path nor http://HOST:PORT")))
            } else {
                Ok(Self::new(Path::new(place)))
            };
        };
        let host = rest.trim_end_matches('/');
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self { place: Place::Tcp(if has_port { host.to_owned() } else { format!("{host}:80") }) })
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.place {
            Place::Unix(socket) => {
                let stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Place::Tcp(host) => {
                let stream = TcpStream::connect(host)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }

    fn name(&self) -> PathBuf {
        match &self.place {
            Place::Unix(socket) => socket.clone(),
            Place::Tcp(host) => PathBuf::from(host),
        }
    }

    /// The typed answer to a request.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T> {
        self.send(request, &mut |_| {})?.json()
    }

    /// Sends a request; tells `progress` how many bytes of the body have gone.
    pub(crate) fn send(&self, request: &Request<'_>, progress: &mut dyn FnMut(usize)) -> Result<Response> {
        let mut stream = self.connect().map_err(|error| Error::Connect { socket: self.name(), error })?;
        // The relay may answer before it has read everything, and hang up: its answer counts, not our failure to go on.
        let written = write(&mut *stream, request, progress);
        let response = Response::read(BufReader::new(stream)).map_err(|error| match &written {
            Err(written) => Error::Broken { what: written.to_string() },
            Ok(()) => Error::Broken { what: error.to_string() },
        })?;
        response.or_refusal()
    }
}

fn write(stream: &mut dyn Stream, request: &Request<'_>, progress: &mut dyn FnMut(usize)) -> io::Result<()> {
    let Request { method, target, headers, body } = request;
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if *method == "POST" {
        head += &format!("content-type: {}\r\ncontent-length: {}\r\n", control_api::LINES, body.len());
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    let mut sent = 0;
    for part in body.chunks(STEP) {
        stream.write_all(part)?;
        sent += part.len();
        progress(sent);
    }
    Ok(())
}

impl Response {
    fn read(mut stream: BufReader<Box<dyn Stream>>) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let first = line(&mut stream)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.filter(|_| first.starts_with("HTTP/1.")).ok_or_else(|| bad("no HTTP"))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = line(&mut stream)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().ok(),
                ("transfer-encoding", value) => chunked = value.eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        let body = if chunked {
            Body::Chunked { stream, left: 0, ended: false }
        } else {
            Body::Length(stream.take(length.unwrap_or(u64::MAX)))
        };
        Ok(Self { status, body })
    }

    fn or_refusal(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = self.status;
        let mut text = String::new();
        let mut body = self.body;
        let read = body.read_to_string(&mut text);
        match serde_json::from_str::<Refusal>(&text) {
            Ok(refusal) => Err(refusal.into()),
            Err(_) if matches!(status, 414 | 431) => Err(Error::Usage(
                "the request is too long for the relay; shorten the filter or the text in it".to_owned(),
            )),
            Err(_) => Err(Error::Broken { what: format!("status {status}, {} bytes", read.unwrap_or(0)) }),
        }
    }

    /// The answer as a whole.
    pub(crate) fn json<T: DeserializeOwned>(mut self) -> Result<T> {
        let mut bytes = Vec::new();
        let broken = |what: String| Error::Broken { what };
        self.body.read_to_end(&mut bytes).map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| broken(format!("not what was expected: {error}")))
    }

    /// The answer line by line.
    pub(crate) fn lines(self) -> impl Iterator<Item = Result<String>> {
        let lines = BufReader::with_capacity(STEP, self.body).lines();
        lines.map(|line| line.map_err(|error| Error::Broken { what: error.to_string() }))
    }
}

/// A line without its end.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.take(LINE).read_line(&mut line)?;
    if line.pop() != Some('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.ends_with('\r') {
        line.pop();
    }
    Ok(line)
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Length(stream) => {
                let read = stream.read(buffer)?;
                if read == 0 && !buffer.is_empty() && stream.limit() > 0 && stream.limit() < u64::MAX / 2 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(read)
            }
            Self::Chunked { ended: true, .. } => Ok(0),
            Self::Chunked { stream, left, ended } => {
                if *left == 0 {
                    let size = line(stream)?;
                    let size = size.split(';').next().unwrap_or_default().trim();
                    *left = u64::from_str_radix(size, 16)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a chunk without a size"))?;
                    if *left == 0 {
                        *ended = true;
                        return Ok(0);
                    }
                }
                let read = stream.take(*left).read(buffer)?;
                if read == 0 && !buffer.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= read as u64;
                if *left == 0 {
                    line(stream)?;
                }
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: &'static [u8]) -> io::Result<(u16, io::Result<String>)> {
        let (ours, mut theirs) = UnixStream::pair()?;
        std::thread::spawn(move || theirs.write_all(bytes));
        let mut response = Response::read(BufReader::new(Box::new(ours) as Box<dyn Stream>))?;
        let mut text = String::new();
        let read = response.body.read_to_string(&mut text);
        Ok((response.status, read.map(|_| text)))
    }

    #[test]
    fn answers_are_read_in_each_of_their_forms() {
        let (status, body) =
            answer(b"HTTP/1.1 200 OK\r\nETag: \"12\"\r\nContent-Length: 2\r\n\r\nhi and more").unwrap();
        assert_eq!((status, body.unwrap().as_str()), (200, "hi"));
        let (status, body) =
            answer(b"HTTP/1.1 422 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!((status, body.unwrap().as_str()), (422, "abc0123456789"));
        assert_eq!(answer(b"HTTP/1.0 200 OK\r\n\r\nto the end").unwrap().1.unwrap(), "to the end");
    }

    #[test]
    fn what_breaks_off_is_no_answer() {
        for torn in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(answer(torn).unwrap().1.is_err(), "{}", String::from_utf8_lossy(torn));
        }
        for no_head in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"SSH-2.0\r\n\r\n"] {
            assert!(answer(no_head).is_err());
        }
    }

    #[test]
    fn parameters_are_escaped() {
        let request =
            Request::get("/v1/x").query("a", Some("b c&d=é")).query("n", None::<u8>).query("e", Some(1));
        assert_eq!(request.target, "/v1/x?a=b%20c%26d%3D%C3%A9&e=1");
    }
}

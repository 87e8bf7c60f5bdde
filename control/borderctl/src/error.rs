//! What can go wrong, and how it is told.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use control_api::{API, Code, Refusal};
use shown::Shown;

/// Done.
pub(crate) const DONE: u8 = 0;
/// Refused or failed; the message says why.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const WRONG: u8 = 2;

/// Findings that are printed one by one.
const PRINTED: usize = 20;

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Error {
    /// The relay says no.
    Refused(Box<Refusal>),
    /// No relay there.
    Connect { socket: PathBuf, error: io::Error },
    /// The conversation broke off.
    Broken { what: String },
    /// A file cannot be read or written.
    File { path: PathBuf, error: io::Error },
    /// Standard output is gone: whoever read it has enough.
    Output(io::Error),
    /// The command line asks for something impossible.
    Usage(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Tells it; returns the exit status.
    pub(crate) fn report(&self, json: bool) -> u8 {
        if let Self::Output(error) = self
            && error.kind() == ErrorKind::BrokenPipe
        {
            return DONE;
        }
        if json {
            let refusal = self.as_refusal();
            eprintln!("{}", shown::json(&serde_json::to_string(&refusal).unwrap_or_default()));
        } else {
            eprint!("{}", self.text());
        }
        if matches!(self, Self::Usage(_)) { WRONG } else { FAILED }
    }

    /// Every error as the relay would say it.
    fn as_refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => (**refusal).clone(),
            _ => {
                let (message, remedy) = self.parts();
                Refusal::new(Code::Unavailable, message, remedy)
            }
        }
    }

    fn parts(&self) -> (String, String) {
        match self {
            Self::Refused(refusal) => (refusal.message.clone(), self.remedy(refusal)),
            Self::Connect { socket, error } => {
                (format!("no relay answers at {}: {error}", socket.display()), connect_remedy(socket, error))
            }
            Self::Broken { what } => (
                format!("the relay's answer broke off: {what}"),
                "ask again; `borderctl history` shows whether a change was made".to_owned(),
            ),
            Self::File { path, error } => {
                (format!("{}: {error}", path.display()), "check the path and its permissions".to_owned())
            }
            Self::Output(error) => (format!("cannot write: {error}"), "make room".to_owned()),
            Self::Usage(message) => (message.clone(), "see `borderctl --help`".to_owned()),
        }
    }

    fn remedy(&self, refusal: &Refusal) -> String {
        match (refusal.code, refusal.api) {
            (Code::UnsupportedApi, Some(theirs)) => {
                format!("this borderctl speaks {API}, the relay {theirs}: {}", refusal.remedy)
            }
            _ => refusal.remedy.clone(),
        }
    }

    fn text(&self) -> String {
        let (message, remedy) = self.parts();
        let mut text = format!("borderctl: {}\n", Shown(message));
        if let Self::Refused(refusal) = self {
            if refusal.findings.len() + usize::try_from(refusal.more).unwrap_or(usize::MAX) > 1 {
                for finding in refusal.findings.iter().take(PRINTED) {
                    text += &format!("  {}\n", Shown(crate::view::finding(finding)));
                }
            } else if let Some(line) = refusal.findings.first().and_then(|finding| finding.line) {
                text += &format!("  at line {line}\n");
            }
            let rest = refusal.findings.len().saturating_sub(PRINTED) as u64 + refusal.more;
            if rest > 0 {
                text += &format!("  and {rest} more\n");
            }
        }
        text + &format!("  {}\n", Shown(remedy))
    }
}

fn connect_remedy(socket: &std::path::Path, error: &io::Error) -> String {
    use std::os::unix::fs::MetadataExt;
    match error.kind() {
        ErrorKind::NotFound => {
            "is it running, and does its configuration have [control]? Name another socket with \
            --socket or BORDERLINE_SOCKET"
                .to_owned()
        }
        ErrorKind::PermissionDenied => match std::fs::metadata(socket) {
            Ok(there) => format!("use sudo, or join the group with the number {}", there.gid()),
            Err(_) => "use sudo, or join the group of its directory".to_owned(),
        },
        ErrorKind::ConnectionRefused => "the relay that made this socket has died: start it again".to_owned(),
        _ => "look at the relay's log".to_owned(),
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

//! Why there is no result. Messages name the object and the remedy.

use std::io;
use std::path::{Path, PathBuf};

use crate::lab::LabError;

/// A benchmark could not be made, or was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    /// A namespace, the device under test or the generator failed.
    #[error("{0}")]
    Lab(#[from] LabError),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not a report.
    #[error("{path} is not what `scripts/bench --json` writes: {source}", path = path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// What a benchmark or the generator wrote cannot be read.
    #[error("cannot read what {program} wrote: {source}")]
    Output {
        /// Who wrote it.
        program: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Cargo did not build what was asked for.
    #[error("cargo built no {what} in {tree}; does the revision have it?", tree = tree.display())]
    NotBuilt {
        /// What is missing.
        what: &'static str,
        /// The tree it was built in.
        tree: PathBuf,
    },
    /// The baseline is from elsewhere.
    #[error(
        "{path} was measured on another machine; figures of two machines are not compared.\n{differences}\n\
         Measure a baseline here with `scripts/bench --json FILE`, or compare revisions with `--against REV`.",
        path = path.display()
    )]
    OtherMachine {
        /// The baseline.
        path: PathBuf,
        /// What differs, one line each.
        differences: String,
    },
    /// The document has no place for a table.
    #[error(
        "docs/performance.md has no `{open}` followed by `{close}`; put the two lines where the table belongs"
    )]
    NoMarker {
        /// The first line.
        open: String,
        /// The last line.
        close: String,
    },
    /// A plot could not be drawn.
    #[error("cannot draw {path}: {reason}", path = path.display())]
    Plot {
        /// The plot.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A trial failed.
    #[error("{subject}, {traffic}: {source}")]
    Trial {
        /// The device under test.
        subject: String,
        /// What was sent.
        traffic: String,
        /// Why.
        source: Box<Self>,
    },
    /// Nothing was forwarded.
    #[error("{subject} forwarded nothing of {traffic}")]
    NothingForwarded {
        /// The device under test.
        subject: String,
        /// What was sent.
        traffic: String,
    },
}

impl BenchError {
    /// Names the file of an error of the operating system.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

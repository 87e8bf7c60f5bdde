//! Builds what is measured: the relay and the benchmarks, of the working tree or of another revision.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;

use super::BenchError;
use crate::lab::{Cmd, LabError};

/// Long enough for a build from nothing on two processors.
const PATIENCE: u64 = 3600;

/// The programs of one source tree.
#[derive(Debug)]
pub(super) struct Build {
    /// `now`, or the revision as it was asked for.
    pub(super) label: String,
    /// The relay.
    pub(super) borderline: PathBuf,
    /// The benchmark programs of the data plane.
    pub(super) benches: Vec<PathBuf>,
    /// The benchmark programs of the control thread.
    pub(super) loads: Vec<PathBuf>,
}

impl Build {
    /// Builds the working tree.
    ///
    /// # Errors
    /// When cargo fails.
    pub(super) fn of_tree(tree: &Path) -> Result<Self, BenchError> {
        Self::with("now", tree, &[])
    }

    /// Builds another revision, in a target directory of its own wherever the working tree's is.
    ///
    /// # Errors
    /// When cargo fails.
    pub(super) fn of_worktree(label: &str, worktree: &Worktree) -> Result<Self, BenchError> {
        let target = worktree.path().join("target").display().to_string();
        Self::with(label, &worktree.path(), &["--target-dir", &target])
    }

    fn with(label: &str, tree: &Path, more: &[&str]) -> Result<Self, BenchError> {
        let cargo = |args: &str, kind: &str| cargo(tree, args, more, kind);
        let relay = cargo("build --release --package borderline", "bin")?;
        let benches = cargo("bench --no-run --package dataplane --features dpdk,testing", "bench")?;
        let loads = cargo("bench --no-run --package control", "bench")?;
        let borderline = relay.into_iter().find(|path| path.ends_with("borderline"));
        let borderline = borderline.ok_or_else(|| missing("relay", tree))?;
        if benches.is_empty() {
            return Err(missing("benchmark", tree));
        }
        Ok(Self { label: label.into(), borderline, benches, loads })
    }
}

fn missing(what: &'static str, tree: &Path) -> BenchError {
    BenchError::NotBuilt { what, tree: tree.into() }
}

/// One of the messages cargo writes.
#[derive(Debug, Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// Runs cargo and returns the programs of one kind it made or found up to date.
fn cargo(tree: &Path, args: &str, more: &[&str], kind: &str) -> Result<Vec<PathBuf>, BenchError> {
    let manifest = tree.join("Cargo.toml").display().to_string();
    let command = Cmd::new("cargo").args(args).args("--message-format=json --manifest-path").arg(manifest);
    let command = more.iter().fold(command, |command, argument| command.arg(*argument));
    Ok(executables(&command.timeout(PATIENCE).ok()?.stdout, kind))
}

fn executables(messages: &str, kind: &str) -> Vec<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let wanted = messages.filter(|message| {
        message.target.as_ref().is_some_and(|target| target.kind.iter().any(|found| found == kind))
    });
    wanted.filter_map(|message| message.executable).collect()
}

/// Another revision of the repository, checked out beside it until this is dropped.
#[derive(Debug)]
pub(super) struct Worktree {
    repository: PathBuf,
    directory: TempDir,
}

impl Worktree {
    /// Checks a revision out.
    ///
    /// # Errors
    /// When there is no such revision.
    pub(super) fn of(repository: &Path, revision: &str) -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new().prefix("borderline-bench-").tempdir();
        let directory = directory.map_err(LabError::io("temporary directory"))?;
        let worktree = Self { repository: repository.into(), directory };
        let path = worktree.path().display().to_string();
        worktree.git().args("worktree add --detach --force").arg(path).arg(revision).timeout(120).ok()?;
        Ok(worktree)
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    fn git(&self) -> Cmd {
        Cmd::new("git").arg("-C").arg(self.repository.display().to_string())
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        self.git().args("worktree remove --force").arg(self.path().display().to_string()).run().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_by_kind() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"x"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"walk"},"executable":"/t/walk-1"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"borderline"},"executable":"/t/borderline"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages, "bench"), [PathBuf::from("/t/walk-1")]);
        assert_eq!(executables(messages, "bin"), [PathBuf::from("/t/borderline")]);
    }

    #[test]
    fn a_worktree_is_another_revision_and_goes_away() {
        let repository = tempfile::tempdir().unwrap();
        let git = |args: &str| {
            let git = Cmd::new("git").arg("-C").arg(repository.path().display().to_string());
            git.args("-c user.name=x -c user.email=x@example.net").args(args).ok().unwrap()
        };
        git("init -q");
        std::fs::write(repository.path().join("file"), "old").unwrap();
        git("add file");
        git("commit -q -m old");
        std::fs::write(repository.path().join("file"), "new").unwrap();
        let worktree = Worktree::of(repository.path(), "HEAD").unwrap();
        assert_eq!(std::fs::read_to_string(worktree.path().join("file")).unwrap(), "old");
        drop(worktree);
        assert_eq!(git("worktree list").stdout.lines().count(), 1);
        assert!(Worktree::of(repository.path(), "no-such-revision").is_err());
    }
}

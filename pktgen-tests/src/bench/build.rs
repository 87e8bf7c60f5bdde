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
    /// The relay; none where nothing that is measured needs it.
    pub(super) borderline: PathBuf,
    /// The benchmark programs of the data plane.
    pub(super) benches: Vec<PathBuf>,
    /// The benchmark programs of the control thread.
    pub(super) loads: Vec<PathBuf>,
}

impl Build {
    /// Builds the working tree, with the relay or only what is measured in memory.
    ///
    /// # Errors
    /// When cargo fails.
    pub(super) fn of_tree(tree: &Path, with_relay: bool) -> Result<Self, BenchError> {
        Self::with("now", tree, &[], with_relay)
    }

    /// Builds another revision, in a target directory of its own wherever the working tree's is.
    ///
    /// # Errors
    /// When cargo fails.
    pub(super) fn of_worktree(
        label: &str,
        worktree: &Worktree,
        with_relay: bool,
    ) -> Result<Self, BenchError> {
        let target = worktree.path().join("target").display().to_string();
        Self::with(label, &worktree.path(), &["--target-dir", &target], with_relay)
    }

    fn with(label: &str, tree: &Path, more: &[&str], with_relay: bool) -> Result<Self, BenchError> {
        let cargo = |args: &str, kind: &str| cargo(tree, args, more, kind);
        let borderline = if with_relay {
            let relay = cargo("build --release --package borderline --bin borderline", "bin")?;
            relay.into_iter().next().ok_or_else(|| missing("relay", tree))?.path
        } else {
            PathBuf::new()
        };
        // In one go, so that their slow optimisations run at the same time.
        let benches = "bench --no-run --package dataplane --package control --bench *";
        let benches = cargo(&format!("{benches} --features dataplane/dpdk,dataplane/testing"), "bench")?;
        let (loads, benches): (Vec<_>, Vec<_>) =
            benches.into_iter().partition(|program| program.is_of("control"));
        if benches.is_empty() {
            return Err(missing("benchmark", tree));
        }
        let paths = |programs: Vec<Program>| programs.into_iter().map(|program| program.path).collect();
        Ok(Self { label: label.into(), borderline, benches: paths(benches), loads: paths(loads) })
    }
}

fn missing(what: &'static str, tree: &Path) -> BenchError {
    BenchError::NotBuilt { what, tree: tree.into() }
}

/// One of the messages cargo writes.
#[derive(Debug, Deserialize)]
struct Message {
    target: Option<Target>,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// A program that was built or was up to date.
#[derive(Debug, PartialEq)]
struct Program {
    path: PathBuf,
    manifest: PathBuf,
}

impl Program {
    /// Whether it belongs to the crate in a folder of that name.
    fn is_of(&self, folder: &str) -> bool {
        self.manifest.parent().is_some_and(|path| path.ends_with(folder))
    }
}

/// Runs cargo and returns the programs of one kind.
fn cargo(tree: &Path, args: &str, more: &[&str], kind: &str) -> Result<Vec<Program>, BenchError> {
    let manifest = tree.join("Cargo.toml").display().to_string();
    let command = Cmd::new("cargo").args(args).args("--message-format=json --manifest-path").arg(manifest);
    let command = more.iter().fold(command, |command, argument| command.arg(*argument));
    Ok(programs(&command.timeout(PATIENCE).ok()?.stdout, kind))
}

fn programs(messages: &str, kind: &str) -> Vec<Program> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let wanted = messages.filter(|message| {
        message.target.as_ref().is_some_and(|target| target.kind.iter().any(|found| found == kind))
    });
    let program =
        |message: Message| Some(Program { path: message.executable?, manifest: message.manifest_path? });
    wanted.filter_map(program).collect()
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
    fn programs_are_found_by_kind_and_crate() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/r/dataplane/Cargo.toml","target":{"kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/r/dataplane/Cargo.toml","target":{"kind":["bench"]},"executable":"/t/walk-1"}
{"reason":"compiler-artifact","manifest_path":"/r/control/Cargo.toml","target":{"kind":["bench"]},"executable":"/t/load-1"}
{"reason":"compiler-artifact","manifest_path":"/r/Cargo.toml","target":{"kind":["bin"]},"executable":"/t/borderline"}
{"reason":"build-finished","success":true}"#;
        let found = |kind| -> Vec<(String, bool)> {
            let programs = programs(messages, kind).into_iter();
            programs.map(|program| (program.path.display().to_string(), program.is_of("control"))).collect()
        };
        assert_eq!(found("bench"), [("/t/walk-1".to_owned(), false), ("/t/load-1".to_owned(), true)]);
        assert_eq!(found("bin"), [("/t/borderline".to_owned(), false)]);
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

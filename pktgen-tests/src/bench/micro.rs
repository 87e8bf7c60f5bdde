//! Runs the benchmark programs: cycles per packet in memory, times to load tables.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::report::Collector;
use super::{BenchError, Build};
use crate::lab::{Cmd, LabError};

/// Long enough for the slowest program on a slow machine.
const PATIENCE: u64 = 600;

/// What a benchmark program writes for each of its rows.
#[derive(Debug, Deserialize)]
struct Measured {
    name: String,
    value: f64,
    unit: String,
    allocations: Option<f64>,
}

/// Runs every benchmark program of the data plane once.
///
/// # Errors
/// When one fails, as the walk does when it allocates memory for a packet.
pub(super) fn run(build: &Build, results: &mut Collector) -> Result<(), BenchError> {
    let mut allocations = None;
    for program in &build.benches {
        for row in measure(program)? {
            allocations = row.allocations.into_iter().chain(allocations).reduce(f64::max);
            results.add(&row.name, &row.unit, row.value);
        }
    }
    if let Some(most) = allocations {
        results.add("allocations_per_packet", "allocations", most);
    }
    Ok(())
}

/// Runs every benchmark program of the control thread once, without priority: they are of many threads and processes.
///
/// # Errors
/// When one fails.
pub(super) fn load(build: &Build, results: &mut Collector) -> Result<(), BenchError> {
    for program in &build.loads {
        let command = Cmd::new(&program.display().to_string()).args("--bench --runs 1").timeout(PATIENCE);
        for row in rows(program, &command.ok()?.stdout)? {
            results.add(&row.name, &row.unit, row.value);
        }
    }
    Ok(())
}

/// One object on each line that has one.
fn rows(program: &Path, text: &str) -> Result<Vec<Measured>, BenchError> {
    let objects = text.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str);
    objects.collect::<Result<_, _>>().map_err(unreadable(program))
}

/// One run of one program that writes an array to a file.
fn measure(program: &Path) -> Result<Vec<Measured>, BenchError> {
    let directory = tempfile::tempdir().map_err(LabError::io("temporary directory"))?;
    let file = directory.path().join("rows.json");
    let command = first_in_line().arg(program.display().to_string());
    command.args("--bench --json").arg(file.display().to_string()).timeout(PATIENCE).ok()?;
    let text = fs::read_to_string(&file).map_err(BenchError::io(&file))?;
    serde_json::from_str(&text).map_err(unreadable(program))
}

fn unreadable(program: &Path) -> impl FnOnce(serde_json::Error) -> BenchError + use<> {
    let program = program.display().to_string();
    |source| BenchError::Output { program, source }
}

/// Real-time priority, for those who may have it.
fn first_in_line() -> Cmd {
    if nix::unistd::geteuid().is_root() { Cmd::new("chrt").args("--rr 10") } else { Cmd::new("env") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn program(directory: &Path, name: &str, rows: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n[ \"$1 $2\" = '--bench --json' ] && echo '{rows}' >\"$3\"\n"))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn build(benches: Vec<PathBuf>, loads: Vec<PathBuf>) -> Build {
        Build { label: "now".into(), borderline: PathBuf::new(), benches, loads }
    }

    #[test]
    fn rows_of_all_programs_are_gathered() {
        let directory = tempfile::tempdir().unwrap();
        let walk = r#"[{"name":"a","value":7,"unit":"cycles/packet","min":6,"allocations":0},
                       {"name":"b","value":8,"unit":"cycles/packet","min":6,"allocations":2}]"#;
        let lookup = r#"[{"name":"c","value":9,"unit":"cycles/packet","min":8}]"#;
        let programs =
            [("walk", walk), ("lookup", lookup)].map(|(name, rows)| program(directory.path(), name, rows));
        let build = build(programs.into(), Vec::new());
        let mut results = Collector::default();
        run(&build, &mut results).unwrap();
        run(&build, &mut results).unwrap();
        let rows: Vec<_> = results.rows().into_iter().map(|row| (row.name, row.value, row.runs)).collect();
        let expected = [("a", 7.0), ("b", 8.0), ("c", 9.0), ("allocations_per_packet", 2.0)];
        assert_eq!(rows, expected.map(|(name, value)| (name.to_owned(), value, 2)));
    }

    #[test]
    fn rows_among_other_lines_are_gathered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("load");
        let lines = "case  total\n{\"name\":\"load_1m_seconds\",\"value\":0.5,\"unit\":\"s\",\"runs\":1}";
        fs::write(&path, format!("#!/bin/sh\necho '{lines}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut results = Collector::default();
        load(&build(Vec::new(), vec![path]), &mut results).unwrap();
        assert_eq!(results.last("load_1m_seconds"), Some(0.5));
    }

    #[test]
    fn a_program_that_writes_something_else_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let build = build(vec![program(directory.path(), "walk", "rubbish")], Vec::new());
        let message = run(&build, &mut Collector::default()).unwrap_err().to_string();
        assert!(message.contains("walk"), "{message}");
    }
}

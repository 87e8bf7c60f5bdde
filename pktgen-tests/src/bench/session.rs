//! One run of `scripts/bench`, from the command line to the exit status.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::Part;
use super::build::Worktree;
use super::report::{Collector, Report};
use super::stand::Stand;
use super::{
    Args, BenchError, Build, Machine, compare, docs, forwarding, latency, micro, options, reload, table,
    workspace,
};

/// How often those of the data plane run in each round: they take a second.
const MICRO_RUNS: u32 = 3;

/// Does what the command line asks for: 0 when it is done, 1 when it could not be done or something became slower.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scripts/bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False when something became slower.
fn run(args: &Args) -> Result<bool, BenchError> {
    let tree = workspace::tree();
    if let Some(revision) = &args.against {
        return against(args, &tree, revision);
    }
    let baseline = args.baseline.as_deref().map(|path| Report::read(path).map(|report| (path, report)));
    let baseline = baseline.transpose()?;
    let report = match &args.from {
        Some(path) => Report::read(path)?,
        None => {
            let machine = Machine::here(&tree);
            // Before minutes of measuring.
            if let Some((path, baseline)) = &baseline {
                compare::refuse_other_machine(path, &baseline.machine, &machine)?;
            }
            progress("building");
            let mut results = [Collector::default()];
            measure(args, &[Build::of_tree(&tree, args.wants_relay())?], &mut results)?;
            Report { machine, results: results[0].rows() }
        }
    };
    print(&report);
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    if args.write_docs {
        docs::write(&tree, &report)?;
    }
    match &baseline {
        Some((path, baseline)) => {
            Ok(compare::print(&compare::with_baseline(path, baseline, &report)?, "then"))
        }
        None => Ok(true),
    }
}

/// Builds a revision besides the working tree, and measures both by turns.
fn against(args: &Args, tree: &Path, revision: &str) -> Result<bool, BenchError> {
    let machine = Machine::here(tree);
    progress(&format!("building {revision} and the working tree"));
    let (worktree, relay) = (Worktree::of(tree, revision)?, args.wants_relay());
    let builds = [Build::of_worktree(revision, &worktree, relay)?, Build::of_tree(tree, relay)?];
    let mut results = [Collector::default(), Collector::default()];
    measure(args, &builds, &mut results)?;
    let [before, after] = results;
    let changes = compare::alternated(&before, &after);
    let report = Report { machine, results: after.rows() };
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    if args.write_docs {
        docs::write_comparison(tree, &report, revision, &changes)?;
    }
    Ok(compare::print(&changes, revision))
}

/// All rounds of all parts. Each build has a collector.
fn measure(args: &Args, builds: &[Build], results: &mut [Collector]) -> Result<(), BenchError> {
    let start = Instant::now();
    let stand = Stand::new(args.vdev, if args.quick { 1.0 } else { 2.0 })?;
    for round in 0..args.rounds() {
        progress(&format!(
            "round {} of {}, {} s so far",
            round + 1,
            args.rounds(),
            start.elapsed().as_secs()
        ));
        if args.wants(Part::Micro) {
            micro_round(builds, results, round)?;
        }
        if args.wants(Part::Micro) && (round == 0 || !args.quick) {
            load_round(builds, results, round)?;
        }
        if args.wants(Part::Forwarding) {
            forwarding::round(&stand, builds, results, round, args.quick)?;
        }
        for (build, results) in by_turns(builds, results, round) {
            if args.wants(Part::Options) {
                options::round(&stand, build, results, round)?;
            }
            if args.wants(Part::Latency) {
                latency::round(&stand, build, results)?;
            }
            if args.wants(Part::Reload) {
                reload::round(&stand, build, results)?;
            }
        }
    }
    Ok(())
}

/// A B B A and so on.
fn micro_round(builds: &[Build], results: &mut [Collector], round: u32) -> Result<(), BenchError> {
    for run in 0..MICRO_RUNS {
        for (build, results) in by_turns(builds, results, round * MICRO_RUNS + run) {
            micro::run(build, results)?;
        }
    }
    Ok(())
}

fn load_round(builds: &[Build], results: &mut [Collector], round: u32) -> Result<(), BenchError> {
    for (build, results) in by_turns(builds, results, round) {
        micro::load(build, results)?;
    }
    Ok(())
}

/// The builds with their collectors, backwards in every other turn.
fn by_turns<'a>(
    builds: &'a [Build],
    results: &'a mut [Collector],
    turn: u32,
) -> Vec<(&'a Build, &'a mut Collector)> {
    let mut pairs: Vec<_> = builds.iter().zip(results).collect();
    if turn % 2 == 1 {
        pairs.reverse();
    }
    pairs
}

fn print(report: &Report) {
    let facts = report.machine.facts().into_iter().map(|(name, value)| vec![format!("{name}:"), value]);
    for fact in facts {
        println!("{:<20}{}", fact[0], fact[1]);
    }
    let rows = report.results.iter().map(|row| {
        let numbers = [row.value, row.min, row.max].map(table::number);
        let mut cells = vec![row.name.clone()];
        cells.extend(numbers);
        cells.extend([row.unit.clone(), row.runs.to_string()]);
        cells
    });
    let head = ["", "median", "min", "max", "unit", "runs"];
    println!("\n{}", table::text(&head, &rows.collect::<Vec<_>>()));
}

fn progress(what: &str) {
    eprintln!("{what}");
}

//! The storm laboratory: what nobody outside may be able to do to the relay, tried, with witnesses.
//!
//! ```text
//!  attack4 --- a4 [port a4]             [port a6] a6 --- attack6        where the storms come from
//!                         \   relay    /
//!  watch4  --- w4 [port w4]             [port w6] w6 --- watch6         where the witnesses are
//! ```
//!
//! All four ports belong to one worker. The witnesses of every storm are a BGP session with BFD at 3 x 100 ms on each
//! watching side, a flow of 1,000 packets per second in each direction between the watchers, the relay's counters, which
//! have to balance, and its memory. They have wires of their own: what is lost on an attacked wire before the relay can
//! fetch it says nothing about the relay.
//!
//! Every [`Scenario`] gives a [`Row`] for each thing looked at; `scripts/storm` writes them to
//! `docs/resilience.md`, and the test `storm` fails when one does not hold.

mod blast;
mod flood;
pub(crate) mod flow;
mod gateway;
mod interfaces;
mod mappings;
mod output;
mod page;
mod routes;
mod row;
mod scan;
mod stand;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::lab::{LabError, Need, skip_unless};

pub use row::Row;

/// The witness of rows that compare a time with a limit: measured by `scripts/storm`, asserted by no test.
pub const OWN_TURN: &str = "the control thread's longest turn since the start";

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Each storm lasts.
    pub time: Duration,
    /// IPv4 routes loaded before routes change.
    pub ipv4_routes: u32,
    /// The same for IPv6.
    pub ipv6_routes: u32,
    /// Changes of routes.
    pub route_changes: u32,
    /// Mappings replaced.
    pub mappings: u32,
}

impl Scale {
    /// What every test run can afford.
    pub const SHORT: Self = Self {
        time: Duration::from_secs(3),
        ipv4_routes: 50_000,
        ipv6_routes: 10_000,
        route_changes: 5_000,
        mappings: 100_000,
    };
    /// What the page shows.
    pub const LONG: Self = Self {
        time: Duration::from_secs(10),
        ipv4_routes: 1_000_000,
        ipv6_routes: 250_000,
        route_changes: 100_000,
        mappings: 1_000_000,
    };
}

/// One storm.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Raises it and looks.
    pub run: fn(&Scale) -> Result<Vec<Row>, LabError>,
}

/// Every storm, in the order of the page.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "nd-scan", run: scan::neighbor_discovery },
    Scenario { name: "arp-scan", run: scan::arp },
    Scenario { name: "unresolved", run: flood::unresolved },
    Scenario { name: "punts", run: flood::punts },
    Scenario { name: "expired", run: flood::expired },
    Scenario { name: "interfaces", run: interfaces::come_and_go },
    Scenario { name: "routes", run: routes::changes },
    Scenario { name: "mappings", run: mappings::replaced },
    Scenario { name: "gateway", run: gateway::fails_and_returns },
    Scenario { name: "neighbor-mac", run: gateway::new_mac },
    Scenario { name: "output", run: output::readers },
];

/// The command line of `scripts/storm`.
#[derive(Debug, Parser)]
#[command(about = "Raises storms against the relay in namespaces and shows what the witnesses saw")]
pub struct Args {
    /// Only these storms
    #[arg(value_name = "STORM")]
    names: Vec<String>,
    /// A million routes, a million mappings, and ten seconds a storm
    #[arg(long)]
    long: bool,
    /// Write the table to docs/resilience.md of this tree
    #[arg(long, value_name = "TREE")]
    write_docs: Option<std::path::PathBuf>,
}

/// Runs what the command line asks for; 1 when something did not hold.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    if skip_unless(&[Need::Root, Need::Relay, Need::Program("bird")]) {
        return ExitCode::FAILURE;
    }
    let scale = if args.long { Scale::LONG } else { Scale::SHORT };
    let unknown = args.names.iter().find(|name| !SCENARIOS.iter().any(|known| known.name == **name));
    if let Some(name) = unknown {
        let names: Vec<&str> = SCENARIOS.iter().map(|known| known.name).collect();
        eprintln!("there is no storm `{name}`; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let chosen = |name: &str| args.names.is_empty() || args.names.iter().any(|wanted| wanted == name);
    let mut rows = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| chosen(scenario.name)) {
        eprintln!("{} ...", scenario.name);
        match (scenario.run)(&scale) {
            Ok(more) => rows.extend(more),
            Err(error) => rows.push(Row::failed(scenario.name, &error)),
        }
    }
    print!("{}", page::table(&rows));
    if let Some(tree) = &args.write_docs
        && let Err(error) = page::write(tree, &rows, &scale)
    {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let failed = rows.iter().filter(|row| !row.held).count();
    println!("{} passed, {failed} failed", rows.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

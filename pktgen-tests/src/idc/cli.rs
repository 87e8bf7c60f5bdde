//! The command line of `scripts/lab`.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

use super::scenario::{HEAD, SCENARIOS, Scenario};
use super::{Idc, Kit, Routing, Suite, keeper, page, status};
use crate::lab::{LabError, Need, skip_unless};

/// `scripts/lab`.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    about = "RFC 7755 appendix A in network namespaces, with real routing daemons and servers"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring everything up, and leave it running
    Up(Choice),
    /// End it
    Down,
    /// Draw it, with addresses and what is on the wires right now
    Status,
    /// Break something under traffic and count what it costs; in what is up, or else in a laboratory of its own
    Scenario {
        /// None for a list; `all` for all of them
        name: Option<String>,
        #[command(flatten)]
        choice: Choice,
        /// Write the table to docs/deployment.md of this tree
        #[arg(long, value_name = "TREE")]
        write_docs: Option<PathBuf>,
    },
    /// A shell in a node, or one command
    Shell {
        /// For example client4, br1, www
        node: String,
        /// Instead of a shell
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// What `up` leaves in the background
    #[command(hide = true)]
    Keep(Choice),
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Choice {
    /// The routing daemon of every router
    #[arg(long, value_enum, default_value = "bird")]
    routing: RoutingName,
    /// The relays' kit
    #[arg(long, value_enum, default_value = "figure")]
    kit: KitName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoutingName {
    Bird,
    Frr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KitName {
    /// BGP towards IPv4, OSPFv3 towards IPv6
    Figure,
    /// BGP on both sides
    Bgp,
    /// OSPFv2 and OSPFv3
    Ospf,
}

impl Choice {
    fn suite(self) -> Suite {
        let routing = match self.routing {
            RoutingName::Bird => Routing::Bird,
            RoutingName::Frr => Routing::Frr,
        };
        let kit = match self.kit {
            KitName::Figure => Kit::Figure,
            KitName::Bgp => Kit::Bgp,
            KitName::Ospf => Kit::Ospf,
        };
        Suite { routing, kit }
    }

    fn arguments(self) -> Vec<String> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        vec![
            "--routing".into(),
            name(self.routing.to_possible_value()),
            "--kit".into(),
            name(self.kit.to_possible_value()),
        ]
    }
}

/// Does what the command line asks for.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return ExitCode::FAILURE;
    }
    match run(args.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode, LabError> {
    match verb {
        Verb::Up(choice) => {
            let state = keeper::up(&choice.arguments())?;
            print!("{}", status::draw(&state));
            println!("{}", status::hints());
        }
        Verb::Down => println!("{}", if keeper::down()? { "down" } else { "nothing was up" }),
        Verb::Status => match keeper::state() {
            Some(state) => print!("{}", status::draw(&state)),
            None => return Ok(nothing_up()),
        },
        Verb::Scenario { name, choice, write_docs } => return scenarios(name, choice.suite(), write_docs),
        Verb::Shell { node, command } => return shell(&node, &command),
        Verb::Keep(choice) => keeper::keep(choice.suite(), obey)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the keeper is told: `scenario NAME`.
fn obey(idc: &mut Idc, line: &str, out: &mut UnixStream) {
    let name = line.strip_prefix("scenario ").unwrap_or(line);
    for scenario in chosen(name) {
        let said = match scenario.run(idc) {
            Ok(outcome) => outcome.row(),
            Err(error) => format!("{}: {error}\n", scenario.name),
        };
        if out.write_all(said.as_bytes()).is_err() {
            return;
        }
    }
}

fn chosen(name: &str) -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().filter(move |scenario| name == "all" || scenario.name == name)
}

/// Runs one or all, in what is up or in a laboratory of their own.
fn scenarios(name: Option<String>, suite: Suite, write_docs: Option<PathBuf>) -> Result<ExitCode, LabError> {
    let Some(name) = name.filter(|name| chosen(name).next().is_some()) else {
        SCENARIOS.iter().for_each(|scenario| println!("{:<12} {}", scenario.name, scenario.what));
        return Ok(ExitCode::from(2));
    };
    if let Some(tree) = write_docs {
        let held = page::renew(&tree)?;
        return Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    print!("{HEAD}");
    if keeper::order(&format!("scenario {name}"), &mut io::stdout())? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut idc = Idc::up(suite)?;
    let mut held = true;
    for scenario in chosen(&name) {
        let outcome = scenario.run(&mut idc)?;
        print!("{}", outcome.row());
        held &= outcome.held();
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn nothing_up() -> ExitCode {
    eprintln!("nothing is up; bring it up with: scripts/lab up");
    ExitCode::FAILURE
}

/// Becomes the shell or the command.
fn shell(node: &str, command: &[String]) -> Result<ExitCode, LabError> {
    let Some(state) = keeper::state() else {
        return Ok(nothing_up());
    };
    let Some(namespace) = state.nodes.get(node) else {
        let names: Vec<&str> = state.nodes.keys().map(String::as_str).collect();
        eprintln!("there is no node `{node}`; there are: {}", names.join(", "));
        return Ok(ExitCode::from(2));
    };
    let mut enter = Command::new("ip");
    enter.args(["netns", "exec", namespace]);
    if command.is_empty() {
        enter.args(["bash", "--norc", "-i"]).env("PS1", format!("{node}# "));
    } else {
        enter.args(command);
    }
    Err(LabError::io("ip netns exec")(enter.exec()))
}

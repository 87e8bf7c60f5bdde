//! What each word does.

mod capture;
mod digest;
mod drops;
mod eam;
mod explain;
mod network;
mod revision;
mod senders;
mod service;
mod services;
mod status;
mod top;
mod traffic;

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{Cli, EamVerb, PoolVerb, Verb, Watch};
use crate::client::{Client, Request};
use crate::error::{Error, Result};
use crate::generate;
use crate::view::Paper;

pub(crate) use explain::Explain;

/// The relay, and how answers are printed.
pub(crate) struct Context {
    client: Client,
    json: bool,
}

/// Does what a command line says.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let context = Context { client: Client::new(&cli.socket), json: cli.json };
    match cli.verb {
        Verb::Status(watch) => status::status(&context, &watch),
        Verb::Version => status::version(&context),
        Verb::Eam(verb) => match verb {
            EamVerb::List(list) => eam::list(&context, &list),
            EamVerb::Counters(which) => traffic::counters(&context, &which),
            EamVerb::Get { prefix } => eam::get(&context, &prefix),
            EamVerb::Add(add) => eam::add(&context, &add),
            EamVerb::Remove { prefixes, change } => eam::remove(&context, &prefixes, &change),
            EamVerb::Import(import) => eam::import(&context, &import),
            EamVerb::Export(list) => eam::export(&context, &list),
            EamVerb::Lookup { address } => eam::lookup(&context, address),
        },
        Verb::Pool(PoolVerb::Show(watch)) => eam::pools(&context, &watch),
        Verb::Check => revision::check(&context),
        Verb::Diff { range } => revision::diff(&context, range),
        Verb::Commit(commit) => revision::commit(&context, &commit),
        Verb::Confirm { revision, comment } => revision::confirm(&context, revision, comment.as_deref()),
        Verb::Discard => revision::discard(&context),
        Verb::Rollback { revision, commit } => revision::rollback(&context, revision, &commit),
        Verb::History { limit, before } => revision::history(&context, limit, before),
        Verb::Health(watch) => service::health(&context, &watch),
        Verb::Drain(drain) => service::drain(&context, &drain),
        Verb::Undrain => service::undrain(&context),
        Verb::Digest { compare } => digest::digest(&context, compare.as_deref()),
        Verb::Events { count } => revision::events(&context, count),
        Verb::Reload => revision::reload(&context),
        Verb::Top(which) => top::top(&context, &which),
        Verb::Ports(watch) => network::ports(&context, &watch),
        Verb::Routes { limit, watch } => network::routes(&context, limit, &watch),
        Verb::Neighbors(watch) => network::neighbors(&context, &watch),
        Verb::Workers(watch) => network::workers(&context, &watch),
        Verb::Capture(wanted) => capture::capture(&context, &wanted),
        Verb::Trace(wanted) => capture::trace(&context, &wanted),
        Verb::Drops(wanted) => drops::drops(&context, &wanted),
        Verb::Counters(watch) => network::counters(&context, &watch),
        Verb::Explain(packet) => explain::explain(&context, &packet),
        Verb::Generate { directory } => generate::run(&directory),
    }
}

impl Context {
    /// Asks, and prints the answer: one typed value for both readers.
    fn show<T: DeserializeOwned + Serialize>(
        &self,
        request: &Request<'_>,
        paper: Paper,
        human: impl Fn(&T, &mut Paper) -> Result<()>,
    ) -> Result<()> {
        let answer: T = self.client.ask(request)?;
        self.print(&answer, paper, human)
    }

    fn print<T: Serialize>(
        &self,
        answer: &T,
        mut paper: Paper,
        human: impl Fn(&T, &mut Paper) -> Result<()>,
    ) -> Result<()> {
        if self.json {
            let mut plain = Paper::plain();
            let text =
                serde_json::to_string(answer).map_err(|error| Error::Broken { what: error.to_string() })?;
            plain.data(&shown::json(&text))?;
            plain.flush()
        } else {
            human(answer, &mut paper)?;
            paper.flush()
        }
    }

    /// The same, again and again if that is wanted.
    fn watch<T: DeserializeOwned + Serialize>(
        &self,
        request: &Request<'_>,
        watch: &Watch,
        human: impl Fn(&T, &mut Paper) -> Result<()>,
    ) -> Result<()> {
        let Some(seconds) = watch.watch else {
            return self.show(request, Paper::paged(), human);
        };
        loop {
            let answer: T = self.client.ask(request)?;
            let mut paper = Paper::plain();
            if !self.json {
                paper.clear()?;
            }
            self.print(&answer, paper, &human)?;
            thread::sleep(Duration::from_secs(seconds));
        }
    }
}

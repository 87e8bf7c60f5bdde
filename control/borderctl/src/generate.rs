//! Completions and man pages, made of the command line itself.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::{Error, Result};

/// Writes `completions/` and `man/` below `directory`.
pub(crate) fn run(directory: &Path) -> Result<()> {
    let (completions, man) = (directory.join("completions"), directory.join("man"));
    for made in [&completions, &man] {
        fs::create_dir_all(made).map_err(|error| Error::File { path: made.clone(), error })?;
    }
    // The same wherever it is made: nothing of the environment shows.
    let mut command = Cli::command().version(None::<&str>).disable_help_subcommand(true);
    command.build();
    for shell in
        Shell::value_variants().iter().filter(|shell| matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish))
    {
        clap_complete::generate_to(*shell, &mut command.clone(), "borderctl", &completions)
            .map_err(|error| Error::File { path: completions.clone(), error })?;
    }
    pages(&command, "borderctl", &man)
}

/// A page for a command, and for each below it.
fn pages(command: &Command, name: &str, directory: &Path) -> Result<()> {
    let title = name.replace(' ', "-");
    let page = clap_mangen::Man::new(command.clone().name(title.clone()).bin_name(name.to_owned()))
        .date("")
        .source("Borderline");
    let mut text = Vec::new();
    let path = directory.join(format!("{title}.1"));
    let failed = |error| Error::File { path: path.clone(), error };
    page.render(&mut text).map_err(failed)?;
    fs::write(&path, text).map_err(failed)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, &format!("{name} {}", below.get_name()), directory)?;
    }
    Ok(())
}

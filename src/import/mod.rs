//! `borderline import`: the configuration of another translator, as one of ours.
//!
//! What enters: a file of Jool SIIT, TAYGA or clatd. What leaves: a TOML configuration that `borderline check` accepts, in
//! which a comment stands for each thing that has no counterpart; or every line that could not be read. Whether addresses
//! make sense is not looked at here: that is what `--check` is for.

mod clatd;
mod draft;
mod history;
mod jool;
mod tayga;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use control::config::Config;
use shown::Shown;

use crate::args::{DONE, FAILED, WRONG};

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// Jool SIIT: the JSON of `jool_siit file handle`, or a script or history of `jool_siit` commands
    Jool,
    /// TAYGA: tayga.conf
    Tayga,
    /// clatd: clatd.conf
    Clatd,
}

/// `borderline import`.
#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// Whose configuration it is
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub(crate) from: From,
    /// Its file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check the result as well; what is wrong with it, and what it probably does not mean, is told on standard error
    #[arg(long)]
    pub(crate) check: bool,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    /// Counted from 1.
    line: usize,
    message: String,
}

/// Every line that cannot be read.
#[derive(Debug, Default)]
struct Refusals(Vec<Refused>);

impl Refusals {
    fn add(&mut self, line: usize, message: impl fmt::Display) {
        self.0.push(Refused { line, message: message.to_string() });
    }
}

/// Imports; returns the exit status.
pub(crate) fn run(args: &ImportArgs) -> u8 {
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("borderline: {}: {error}", Shown(args.file.display()));
            return FAILED;
        }
    };
    let toml = match import(args.from, &args.file, &text) {
        Ok(toml) => toml,
        Err(refusals) => {
            for Refused { line, message } in &refusals.0 {
                eprintln!("{}:{line}: {}", Shown(args.file.display()), Shown(message));
            }
            return WRONG;
        }
    };
    print!("{toml}");
    if args.check { check(&args.file, &toml) } else { DONE }
}

fn read(path: &Path) -> std::io::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        Ok(text)
    } else {
        std::fs::read_to_string(path)
    }
}

fn import(from: From, file: &Path, text: &str) -> Result<String, Refusals> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut refusals = Refusals::default();
    let draft = match from {
        From::Jool if text.trim_start().starts_with('{') => jool::json(text, &mut refusals),
        From::Jool => history::commands(text, &mut refusals),
        From::Tayga => tayga::conf(text, &mut refusals),
        From::Clatd => clatd::conf(text, &mut refusals),
    };
    if refusals.0.is_empty() { Ok(draft.toml(&file.display().to_string())) } else { Err(refusals) }
}

/// Problems name lines of the result, beside the file it came from.
fn check(file: &Path, toml: &str) -> u8 {
    let result = file.with_file_name("imported.toml");
    match Config::parse(&result, toml) {
        Ok((_, warnings)) => {
            eprint!("{warnings}");
            eprintln!("the result can be used");
            DONE
        }
        Err(problems) => {
            eprint!("{problems}");
            WRONG
        }
    }
}

/// The words of a line up to a comment; one in quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut is_word) = (None, false);
    for character in line.chars() {
        match (quote, character) {
            (Some(end), character) if character == end => quote = None,
            (Some(_), character) => word.push(character),
            (None, '#') if !is_word => break,
            (None, '"' | '\'') => {
                quote = Some(character);
                is_word = true;
            }
            (None, character) if character.is_whitespace() => {
                if std::mem::take(&mut is_word) {
                    words.push(std::mem::take(&mut word));
                }
            }
            (None, character) => {
                word.push(character);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// What a word for yes or no says.
fn is_yes(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

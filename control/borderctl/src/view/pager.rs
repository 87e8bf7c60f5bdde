//! Standard output: paged and coloured on a terminal, plain elsewhere.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use shown::Shown;

use crate::error::{Error, Result};

/// What is written on.
pub(crate) struct Paper {
    target: Target,
    colour: bool,
}

enum Target {
    Output(BufWriter<io::Stdout>),
    Pager { child: Child, input: Option<BufWriter<ChildStdin>> },
}

impl Paper {
    /// Standard output as it is.
    pub(crate) fn plain() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { target: Target::Output(BufWriter::new(io::stdout())), colour }
    }

    /// A pager when a person reads; what fits on the screen stays there.
    pub(crate) fn paged() -> Self {
        let plain = Self::plain();
        if !io::stdout().is_terminal() {
            return plain;
        }
        let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
        let mut words = pager.split_whitespace();
        let Some(program) = words.next() else { return plain };
        let spawned = Command::new(program).args(words).env("LESS", "FRX").stdin(Stdio::piped()).spawn();
        match spawned {
            Ok(mut child) => {
                let input = child.stdin.take().map(BufWriter::new);
                Self { target: Target::Pager { child, input }, ..plain }
            }
            Err(_) => plain,
        }
    }

    /// A line for people, who may be at a terminal.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        self.data(&Shown(line).to_string())
    }

    /// A line as it is: for programs, or with colours of ours.
    pub(crate) fn data(&mut self, line: &str) -> Result<()> {
        writeln!(self.writer(), "{line}").map_err(Error::Output)
    }

    /// A title of columns.
    pub(crate) fn heading(&mut self, line: &str) -> Result<()> {
        if self.colour { self.data(&format!("\x1b[1m{line}\x1b[0m")) } else { self.line(line) }
    }

    /// A word that stands out: green when all is well, red when not. For [`Self::data`]: a line would show the colours as text.
    pub(crate) fn word(&self, word: &str, is_good: bool) -> String {
        let word = Shown(word);
        match (self.colour, is_good) {
            (false, _) => word.to_string(),
            (true, true) => format!("\x1b[32m{word}\x1b[0m"),
            (true, false) => format!("\x1b[31m{word}\x1b[0m"),
        }
    }

    /// Begins the screen anew.
    pub(crate) fn clear(&mut self) -> Result<()> {
        let text = if io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        write!(self.writer(), "{text}").map_err(Error::Output)
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writer().flush().map_err(Error::Output)
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.target {
            Target::Output(output) => output,
            Target::Pager { input: Some(input), .. } => input,
            Target::Pager { child, input } => input.insert(BufWriter::new(
                child.stdin.take().expect("a pager's input is taken once, and put where it is found"),
            )),
        }
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        match &mut self.target {
            Target::Output(output) => {
                let _ = output.flush();
            }
            Target::Pager { child, input } => {
                drop(input.take());
                let _ = child.wait();
            }
        }
    }
}

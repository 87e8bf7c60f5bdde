//! The log of a running relay: lines wait in a bounded queue, and a thread of its own writes them to standard error.
//!
//! Whoever reads the log may be slow, stopped, gone, or a disk that is full: the relay must not notice. A line that finds
//! no room, or cannot be written, is lost; how many were is counted, and said in the log as soon as it can be written
//! again. What libraries print goes the same way: their standard output and error are a pipe that never blocks, and comes
//! out here.

mod lines;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionread, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use tracing_subscriber::fmt::MakeWriter;

use self::lines::{Lines, Style};
use crate::harden::keep_nothing;

/// Bytes that wait at most: some 30,000 lines, or a few hundred of the longest.
const QUEUE_BYTES: usize = 4 << 20;
/// What a longer line is cut to.
const LINE_BYTES: usize = 64 << 10;
/// How long the end of the process waits for its last lines to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Writes to the log, from any thread, without ever waiting. Clones write to the same.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// Text
    Text,
    /// One JSON object a line
    Json,
}

struct Inner {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// What standard output and error were taken over with, if they were.
    taken: Option<Taken>,
    style: Style,
    is_terminal: bool,
}

struct Taken {
    /// The end of the pipe where the libraries' output arrives.
    output: OwnedFd,
    /// What standard error was before.
    stderr: OwnedFd,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    lost: u64,
    /// Lines lost that the log does not tell of yet.
    untold: u64,
}

impl Log {
    /// Takes standard output and error over and starts the log with them.
    ///
    /// # Errors
    /// When the system gives no more descriptors or threads.
    pub(crate) fn start(format: LogFormat) -> io::Result<Self> {
        let is_terminal = io::stderr().is_terminal();
        let stderr = fcntl_dupfd_cloexec(io::stderr(), 3)?;
        let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&input, OFlags::NONBLOCK)?;
        let taken = Taken { output: output.try_clone()?, stderr: stderr.try_clone()? };
        let log = Self::writing_to(stderr, Some(taken), is_terminal)?;
        log.look(format);
        dup2_stdout(&input)?;
        dup2_stderr(&input)?;
        let listener = log.clone();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            keep_nothing();
            listener.listen(output);
        })?;
        log.take_traces(is_terminal);
        log.take_panics();
        Ok(log)
    }

    /// Has lines look like that from now on.
    pub(crate) fn look(&self, format: LogFormat) {
        self.0.style.set_json(match format {
            LogFormat::Auto => !self.0.is_terminal,
            LogFormat::Text => false,
            LogFormat::Json => true,
        });
    }

    /// Adds text that is no event, whatever it is: `name` of `message` in JSON, or as it is.
    pub(crate) fn plain(&self, message: &str, name: &str, text: &str) {
        let is_json = self.0.style.is_json();
        let line = if is_json { lines::line(message, (name, text.into())) } else { format!("{text}\n") };
        self.line(line.into_bytes());
    }

    /// Adds everything that is counted.
    pub(crate) fn counters(&self, counters: serde_json::Value) {
        let is_json = self.0.style.is_json();
        let line = match is_json {
            true => lines::line("counters", ("counters", counters)),
            false => format!("counters {counters}\n"),
        };
        self.line(line.into_bytes());
    }

    fn writing_to(stderr: OwnedFd, taken: Option<Taken>, is_terminal: bool) -> io::Result<Self> {
        let (queue, changed, style) = Default::default();
        let log = Self(Arc::new(Inner { queue, changed, taken, style, is_terminal }));
        let writer = log.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            keep_nothing();
            writer.write_on(&stderr);
        })?;
        Ok(log)
    }

    /// Adds a line, which ends with a line break.
    pub(crate) fn line(&self, mut line: Vec<u8>) {
        if line.len() > LINE_BYTES {
            line.truncate(LINE_BYTES - 1);
            line.push(b'\n');
        }
        let mut queue = self.queue();
        if queue.bytes + line.len() > QUEUE_BYTES {
            queue.lose();
        } else {
            queue.bytes += line.len();
            queue.lines.push_back(line);
            self.0.changed.notify_all();
        }
    }

    /// Lines that were lost since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.queue().lost
    }

    /// Waits until everything is written, but not long.
    pub(crate) fn finish(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        let unread = || {
            let output = self.0.taken.as_ref().map(|taken| &taken.output);
            output.is_some_and(|output| ioctl_fionread(output).is_ok_and(|bytes| bytes > 0))
        };
        let mut queue = self.queue();
        while (!queue.lines.is_empty() || queue.is_writing || unread()) && Instant::now() < deadline {
            let waited = self.0.changed.wait_timeout(queue, Duration::from_millis(5));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives standard output and error back, before another image of this process takes them over anew.
    pub(crate) fn give_back(&self) {
        self.finish();
        if let Some(taken) = &self.0.taken {
            // What cannot be given back is a log that nobody reads.
            dup2_stdout(&taken.stderr).ok();
            dup2_stderr(&taken.stderr).ok();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_traces(&self, is_terminal: bool) {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(is_terminal)
            .event_format(Lines::new(self.0.style.clone()))
            .with_writer(self.clone())
            .init();
    }

    /// A panic is a bug and ends the process: not before its message is written, if it can be.
    fn take_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let backtrace = std::backtrace::Backtrace::capture();
            log.plain("panic", "panic", &format!("{panic}\n{backtrace}"));
            log.finish();
        }));
    }

    /// What libraries print, line by line.
    fn listen(self, output: OwnedFd) {
        let mut lines = BufReader::new(File::from(output));
        let mut line = Vec::new();
        while (&mut lines).take(LINE_BYTES as u64).read_until(b'\n', &mut line).is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line);
            self.plain("output", "line", text.trim_end_matches('\n'));
            line.clear();
        }
    }

    fn write_on(self, stderr: &OwnedFd) {
        let mut is_at_start = true;
        loop {
            let (line, untold) = self.next();
            let notice = self.lost_notice(untold);
            let told = untold > 0 && write_all(stderr, notice.as_bytes(), &mut is_at_start).is_ok();
            let written = write_all(stderr, &line, &mut is_at_start);
            let mut queue = self.queue();
            queue.is_writing = false;
            if told {
                queue.untold -= untold;
            }
            if written.is_err() {
                queue.lose();
            }
            self.0.changed.notify_all();
        }
    }

    fn lost_notice(&self, lines: u64) -> String {
        let text = "lines of the log were lost here: its reader did not keep up, or it could not be written";
        if self.0.style.is_json() {
            lines::line(text, ("lines", lines.into()))
        } else {
            format!("{lines} {text}\n")
        }
    }

    /// Waits for a line; with it, how many were lost before it.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut queue = self.queue();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                queue.is_writing = true;
                return (line, queue.untold);
            }
            queue = self.0.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn lose(&mut self) {
        self.lost += 1;
        self.untold += 1;
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = LogWriter<'a>;

    fn make_writer(&'a self) -> LogWriter<'a> {
        LogWriter(self)
    }
}

/// Takes one event, which is written in one go.
pub(crate) struct LogWriter<'a>(&'a Log);

impl io::Write for LogWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.line(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of it, however long that takes. A line that was begun and not finished is ended first.
fn write_all(to: &OwnedFd, bytes: &[u8], is_at_start: &mut bool) -> io::Result<()> {
    let mut rest = bytes;
    if !*is_at_start {
        write_some(to, b"\n")?;
        *is_at_start = true;
    }
    while !rest.is_empty() {
        let length = write_some(to, rest)?;
        rest = &rest[length..];
        *is_at_start = rest.is_empty();
    }
    Ok(())
}

fn write_some(to: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match write(to, bytes) {
            Ok(length) => return Ok(length),
            Err(Errno::INTR) => {}
            // Somebody else made it non-blocking: a terminal is shared with the shell.
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)];
                match poll(&mut ready, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any machine takes for what a test waits for.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn wait_until(mut ready: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        while !ready() {
            if start.elapsed() > PATIENCE {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn piped() -> (Log, File) {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (Log::writing_to(input, None, false).unwrap(), File::from(output))
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_is_told_how_many() {
        let (log, mut reader) = piped();
        let line = |number: usize| format!("{number:01000}\n").into_bytes();
        let started = Instant::now();
        (0..10_000).for_each(|number| log.line(line(number)));
        assert!(started.elapsed() < PATIENCE, "nobody waits for the reader");
        let lost = log.lost();
        assert!((1..10_000).contains(&lost), "{lost} of 10 MB fit neither the queue nor the pipe");
        log.finish();
        assert_eq!(log.lost(), lost, "the end does not wait for ever");
        // The reader goes on: the next line comes behind the news.
        let mut text = String::new();
        let mut last = Vec::new();
        assert!(wait_until(|| {
            let mut bytes = [0; 65_536];
            let length = reader.read(&mut bytes).unwrap();
            last.extend_from_slice(&bytes[..length]);
            log.line(b"end\n".to_vec());
            last.ends_with(b"end\n")
        }));
        text.push_str(std::str::from_utf8(&last).unwrap());
        let told: u64 = text
            .lines()
            .filter_map(|line| line.strip_suffix(" lines of the log were lost here: its reader did not keep up, or it could not be written"))
            .map(|number| number.parse::<u64>().unwrap())
            .sum();
        assert!(told >= lost, "told of {told}, lost {lost}");
        assert!(text.lines().filter(|line| line.len() == 1000).count() >= 4000, "what fitted is there");
    }

    #[test]
    fn a_reader_that_is_gone_and_a_full_disk_cost_lines_only() {
        let (log, reader) = piped();
        drop(reader);
        log.line(b"nobody reads this\n".to_vec());
        assert!(wait_until(|| log.lost() == 1));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let log = Log::writing_to(full.into(), None, false).unwrap();
        (0..100).for_each(|_| log.line(b"no room for this\n".to_vec()));
        assert!(wait_until(|| log.lost() == 100));
    }

    #[test]
    fn a_pipe_that_does_not_block_loses_nothing_as_long_as_it_is_read() {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        fcntl_setfl(&input, OFlags::NONBLOCK).unwrap();
        let log = Log::writing_to(input, None, false).unwrap();
        let lines = 2000;
        (0..lines).for_each(|number| log.line(format!("{number:0999}\n").into_bytes()));
        let mut reader = BufReader::new(File::from(output));
        for number in 0..lines {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, format!("{number:0999}\n"));
        }
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn long_lines_are_cut() {
        let (log, reader) = piped();
        log.line(vec![b'x'; 2 * LINE_BYTES]);
        log.line(b"next\n".to_vec());
        let mut lines = BufReader::new(reader).lines();
        assert_eq!(lines.next().unwrap().unwrap().len(), LINE_BYTES - 1);
        assert_eq!(lines.next().unwrap().unwrap(), "next");
    }
}

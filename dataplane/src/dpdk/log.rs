//! DPDK's log lines, handed to whoever logs, and remembered long enough to be quoted in an error.
//!
//! DPDK writes and flushes each message on the thread that logs it. So the error lines of an operation are
//! collected in a thread-local list: another thread's messages never end up in the wrong error.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int};
use std::slice;
use std::sync::OnceLock;

use super::error::{EalError, Errno};

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Normal, and worth knowing.
    Notice,
    /// Normal.
    Info,
    /// For developers.
    Debug,
}

/// Takes one line, without its line feed. May be called from any thread, and must not call into DPDK.
pub type LogSink = fn(LogLevel, &str);

/// A [`LogSink`] for programs without a log.
pub fn log_to_stderr(_level: LogLevel, line: &str) {
    eprintln!("dpdk: {line}");
}

/// A failing probe logs up to a handful of lines: the first ones tell the cause, the later ones who gave up
/// on it.
const REMEMBERED: usize = 3;

static SINK: OnceLock<LogSink> = OnceLock::new();

thread_local! {
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Sends all that DPDK logs from now on to `sink`. Only the first call chooses the sink.
pub(super) fn capture(sink: LogSink) -> Result<(), EalError> {
    SINK.get_or_init(|| sink);
    // SAFETY: `receive` is a function that lives as long as the process and may be called from any thread.
    Errno::check(unsafe { dpdk_sys::bl_log_open(Some(receive)) }).map_err(EalError::Log)?;
    Ok(())
}

/// Forgets the error lines of this thread.
pub(super) fn forget_errors() {
    ERRORS.take();
}

/// The error lines this thread logged since [`forget_errors`].
pub(super) fn errors() -> Vec<String> {
    ERRORS.take()
}

/// Runs an attempt that may fail, and is no error then: what DPDK complains about is for developers.
pub(super) fn attempting<T>(attempt: impl FnOnce() -> T) -> T {
    EXPECTED.set(true);
    let result = attempt();
    EXPECTED.set(false);
    result
}

/// Called by the stream of shim.c. A panic in the sink ends the process, it must not unwind through C.
extern "C" fn receive(level: c_int, text: *const c_char, length: usize) {
    // SAFETY: stdio hands its cookie function `length` readable bytes, which stay in place during the call.
    let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    let level = level_of(level);
    for line in String::from_utf8_lossy(bytes).lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut level = level;
        if level == LogLevel::Error {
            remember(line);
            if EXPECTED.try_with(Cell::get) == Ok(true) {
                level = LogLevel::Debug;
            }
        }
        if let Some(sink) = SINK.get() {
            sink(level, line);
        }
    }
}

fn level_of(level: c_int) -> LogLevel {
    match level {
        ..=dpdk_sys::RTE_LOG_ERR => LogLevel::Error,
        dpdk_sys::RTE_LOG_WARNING => LogLevel::Warning,
        dpdk_sys::RTE_LOG_NOTICE => LogLevel::Notice,
        dpdk_sys::RTE_LOG_INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

fn remember(line: &str) {
    // A thread that logs while it ends has no list any more: its line is not quoted, and still reaches the
    // sink.
    let _ = ERRORS.try_with(|errors| {
        let mut errors = errors.borrow_mut();
        if errors.len() < REMEMBERED {
            errors.push(line.to_owned());
        }
    });
}

//! `[control]`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Report;
use crate::config::error::ProblemKind;
use crate::config::file::{ControlTable, Section};
use crate::config::model::Control;
use crate::config::tree::Field;

/// Where the socket is unless told otherwise.
const SOCKET: &str = "/run/borderline/control.sock";
/// Where the mappings are kept unless told otherwise.
const STORE: &str = "/var/lib/borderline/mappings.db";
/// Longest path of a Unix socket, in bytes (`sun_path` without its end).
const SOCKET_MAX: usize = 107;

/// None without the table. Relative paths are relative to the configuration's directory.
pub(in crate::config) fn control(
    section: &Section<ControlTable>,
    directory: &Path,
    report: &mut Report,
) -> Option<Control> {
    let Section::Given(table) = section else { return None };
    let socket = path(&table.socket, SOCKET, directory, report);
    let length = socket.as_os_str().as_bytes().len();
    if length > SOCKET_MAX
        && let Some(at) = table.socket.given()
    {
        report.problems.push(at.finding(ProblemKind::SocketPathTooLong { length, max: SOCKET_MAX }));
    }
    let group = table.group.given().filter(|at| report.usable_text(at)).map(|at| at.value.clone());
    Some(Control { socket, group, store: path(&table.store, STORE, directory, report) })
}

fn path(field: &Field<String>, default: &str, directory: &Path, report: &mut Report) -> PathBuf {
    let text = field.given().filter(|at| report.usable_text(at)).map_or(default, |at| &at.value);
    directory.join(text)
}

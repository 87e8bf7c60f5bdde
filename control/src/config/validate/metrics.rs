//! `[metrics]` and `[log]`.

use std::net::SocketAddr;

use super::Report;
use crate::config::error::ProblemKind;
use crate::config::file::{LogTable, MetricsTable, Section};
use crate::config::model::{LogFormat, MappingCounters, Metrics};

/// Nothing without the table.
pub(in crate::config) fn metrics(section: &Section<MetricsTable>, report: &mut Report) -> Metrics {
    let Section::Given(table) = section else { return Metrics::default() };
    let words = &["off", "busiest", "exact"];
    let choices = [MappingCounters::Off, MappingCounters::Busiest, MappingCounters::Exact];
    Metrics { listen: listen(table, report), mappings: report.choice(&table.mappings, words, &choices) }
}

/// Anybody who can connect may ask, so an address that others can reach has to be meant.
fn listen(table: &MetricsTable, report: &mut Report) -> Option<SocketAddr> {
    let at = table.listen.given()?;
    let is_remote_meant = table.remote.given().is_some_and(|remote| remote.value);
    match at.value.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() || is_remote_meant => Some(address),
        Ok(_) => {
            report.problems.push(at.finding(ProblemKind::ListensToAll));
            None
        }
        Err(_) => {
            report.problems.push(at.finding(ProblemKind::NotASocketAddress));
            None
        }
    }
}

/// How lines of the log look.
pub(in crate::config) fn log_format(section: &Section<LogTable>, report: &mut Report) -> LogFormat {
    let Section::Given(table) = section else { return LogFormat::default() };
    let choices = [LogFormat::Auto, LogFormat::Text, LogFormat::Json];
    report.choice(&table.format, &["auto", "text", "json"], &choices)
}

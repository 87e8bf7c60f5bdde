//! `[announce]`.

use super::Report;
use crate::config::error::ProblemKind;
use crate::config::file::{AnnounceTable, File, Section};
use crate::config::model::{Announce, DefaultRoute, Port};

/// FRR keeps an administrative distance in the byte above.
const METRIC_MAX: u32 = 0x00ff_ffff;
/// An hour.
const SECONDS_MAX: u32 = 3600;
/// The name of the interface the routes go to would be that of this port's twin.
const RESERVED_PORT: &str = "up";

/// None without the table, or with `enabled = false`.
pub(in crate::config) fn announce(file: &File, ports: &[Port], report: &mut Report) -> Option<Announce> {
    let Section::Given(table) = &file.announce else { return None };
    let announce = values(table, report);
    if !table.enabled.given().is_none_or(|at| at.value) {
        return None;
    }
    if let (Some(at), true) = (name_in_the_way(file), ports.iter().any(|port| port.name == RESERVED_PORT)) {
        report.problems.push(at);
    }
    Some(announce)
}

fn values(table: &AnnounceTable, report: &mut Report) -> Announce {
    let metric = report.ranged(&table.metric, 1, METRIC_MAX, 4242);
    let drain_metric = report.ranged(&table.drain_metric, 1, METRIC_MAX, 14242);
    if drain_metric <= metric
        && let Some(at) = table.drain_metric.given()
    {
        report.problems.push(at.finding(ProblemKind::DrainMetricTooSmall { metric }));
    } else if drain_metric <= metric
        && let Some(at) = table.metric.given()
    {
        report.problems.push(at.finding(ProblemKind::MetricTooLarge { drain_metric }));
    }
    Announce {
        metric,
        drain_metric,
        default_route: report.choice(
            &table.default_route,
            &["seen", "required", "ignored"],
            &[DefaultRoute::Seen, DefaultRoute::Required, DefaultRoute::Ignored],
        ),
        drain_lead: report.ranged(&table.drain_lead_seconds, 0, SECONDS_MAX, 10),
        drain_quiet_pps: report.ranged(&table.drain_quiet_pps, 1, u32::MAX, 10),
        drain_quiet: report.ranged(&table.drain_quiet_seconds, 1, SECONDS_MAX, 3),
        stop: report.ranged(&table.stop_seconds, 0, SECONDS_MAX, 5),
    }
}

fn name_in_the_way(file: &File) -> Option<crate::config::error::Problem> {
    let Section::Given(ports) = &file.ports else { return None };
    let named = ports.iter().filter_map(|port| port.name.given()).find(|at| at.value == RESERVED_PORT)?;
    Some(named.finding(ProblemKind::PortNameAnnounces))
}

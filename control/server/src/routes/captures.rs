//! The streams of captured packets.
//!
//! Each has a bounded queue between relay and client. The relay never waits for it: what does not fit is lost, and the packet
//! after says how many were. A client that is gone ends its capture with the next line, which comes within a second.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use control_api::{CaptureLine, LINES, Refusal, path};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Client, Query, invalid};
use crate::connections::Busy;
use crate::relay::CaptureQuery;
use crate::reply::{Reply, chunk, push_line, with_type};

const COUNT: std::ops::RangeInclusive<u64> = 1..=1_000_000;
const SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;
const RATE: std::ops::RangeInclusive<u32> = 1..=100_000;
const SNAP: std::ops::RangeInclusive<u32> = 64..=9600;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(capture))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Which packets, see `borderctl capture --help`; every packet when left out.
    filter: Option<String>,
    /// So many at most, 1 to 1000000; 1000 when left out.
    count: Option<u64>,
    /// For so many seconds at most, 1 to 3600; 60 when left out.
    seconds: Option<u64>,
    /// Packets a second at most, 1 to 100000; 10000 when left out.
    rate: Option<u32>,
    /// Bytes of each frame at most, 64 to 9600; 9600 when left out.
    snap: Option<u32>,
}

/// Packets that pass a filter, before and after, one object a line, until there are enough, the time is over, or the client goes.
#[utoipa::path(get, path = path::CAPTURE, params(Wanted), responses(
    (status = 200, body = CaptureLine, content_type = LINES, description = "one object a line"),
    (status = 400, body = Refusal),
    (status = 503, body = Refusal),
))]
async fn capture(
    State(app): State<App>,
    Extension(connection): Client,
    Query(wanted): Query<Wanted>,
) -> Reply {
    let query = CaptureQuery {
        filter: wanted.filter.unwrap_or_default(),
        count: within("count", wanted.count.unwrap_or(1000), &COUNT)?,
        time: Duration::from_secs(within("seconds", wanted.seconds.unwrap_or(60), &SECONDS)?),
        rate: within("rate", wanted.rate.unwrap_or(10_000), &RATE)?,
        snap: within("snap", wanted.snap.unwrap_or(9600), &SNAP)?,
    };
    let lines = app.ask(move |relay| relay.capture(&query)).await?;
    // As long as it runs, its connection makes room for no other.
    Ok(with_type(Body::from_stream(stream::unfold((lines, connection.busy()), next)), LINES))
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    range: &std::ops::RangeInclusive<T>,
) -> Result<T, Refusal> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(invalid(format!("{name} is {value}"), format!("give {} to {}", range.start(), range.end())))
}

/// Lines to come, on a connection that is busy meanwhile.
type Lines = (Receiver<CaptureLine>, Busy);

async fn next((mut lines, busy): Lines) -> Option<(Result<Bytes, Infallible>, Lines)> {
    let mut bytes = Vec::new();
    push_line(&mut bytes, &lines.recv().await?);
    Some((chunk(bytes), (lines, busy)))
}

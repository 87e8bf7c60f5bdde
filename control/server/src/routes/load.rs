//! What moves: for rates, for bills.

use axum::Extension;
use axum::extract::State;
use control_api::{LINES, Load, MappingLoad, Refusal, path};
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::mappings::prefix;
use super::{App, Client, Query, listing};
use crate::relay::TrafficQuery;
use crate::reply::{Reply, json, with_type};

/// Busiest mappings that are listed at most.
const MOST: u32 = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(load)).routes(routes!(traffic))
}

/// Counts of ports, workers, drops and the busiest mappings, with the time they were read.
#[utoipa::path(get, path = path::LOAD, responses((status = 200, body = Load)))]
async fn load(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.load()).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only mappings with a prefix inside this address or prefix, or around it.
    within: Option<String>,
    /// So many of the busiest, by bytes, 10000 at most; all, ordered by IPv4 prefix, when left out.
    top: Option<u32>,
}

/// Traffic of mappings since the start of the relay, one object a line. What was removed comes last.
#[utoipa::path(get, path = path::EAM_COUNTERS, params(Which), responses(
    (status = 200, body = MappingLoad, content_type = LINES, description = "one object a line"),
    (status = 400, body = Refusal), (status = 404, body = Refusal, description = "it is not counted"),
))]
async fn traffic(State(app): State<App>, Extension(connection): Client, Query(which): Query<Which>) -> Reply {
    let within: Option<IpNet> = which.within.as_deref().map(prefix).transpose()?;
    let query = TrafficQuery { within, top: which.top.map(|top| top.min(MOST)) };
    let slices = app.ask(move |relay| relay.traffic(&query)).await?;
    Ok(with_type(listing::body(&app, slices, connection.busy()), LINES))
}

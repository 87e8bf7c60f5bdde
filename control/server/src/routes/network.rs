//! What the relay has to do with the network.

use axum::extract::State;
use axum::http::HeaderMap;
use control_api::{Counters, Neighbors, Ports, Routes, Workers, path};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Query};
use crate::metrics::{accepted, page};
use crate::reply::{Reply, json};

/// Routes that are listed at most: a full table is not for people.
const ROUTES: u32 = 100_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ports))
        .routes(routes!(workers))
        .routes(routes!(route_table))
        .routes(routes!(neighbors))
        .routes(routes!(counters))
        .routes(routes!(metrics))
}

/// The ports, with the drivers' own counts.
#[utoipa::path(get, path = path::PORTS, responses((status = 200, body = Ports)))]
async fn ports(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.ports()).await?))
}

/// The workers, and how loaded each is.
#[utoipa::path(get, path = path::WORKERS, responses((status = 200, body = Workers)))]
async fn workers(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.workers()).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// So many at most; 100000 when left out.
    limit: Option<u32>,
}

/// The routes the workers use.
#[utoipa::path(get, path = path::ROUTES, params(Limit), responses((status = 200, body = Routes)))]
async fn route_table(State(app): State<App>, Query(Limit { limit }): Query<Limit>) -> Reply {
    let limit = limit.unwrap_or(ROUTES).min(ROUTES);
    Ok(json(&app.ask(move |relay| relay.routes(limit)).await?))
}

/// The neighbours the workers use.
#[utoipa::path(get, path = path::NEIGHBORS, responses((status = 200, body = Neighbors)))]
async fn neighbors(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.neighbors()).await?))
}

/// Every counter. Reading changes none.
#[utoipa::path(get, path = path::COUNTERS, responses((status = 200, body = Counters)))]
async fn counters(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.counters()).await?))
}

/// Every counter for Prometheus: text format 0.0.4, or OpenMetrics 1.0 for those who accept it.
#[utoipa::path(get, path = path::METRICS, responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Reply {
    let accept = accepted(&headers);
    Ok(page(app.ask(move |relay| relay.metrics(&accept)).await?))
}

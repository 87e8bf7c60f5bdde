//! Whether the relay is in service.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use control_api::{Announcement, Digests, Refusal, path};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Query, invalid};
use crate::relay::Peer;
use crate::reply::{Reply, json};

/// Longest lead, in seconds.
const LEAD: u64 = 3600;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(announcement))
        .routes(routes!(drain))
        .routes(routes!(undrain))
        .routes(routes!(digest))
}

/// Tests, routes and the drain.
#[utoipa::path(get, path = path::ANNOUNCEMENT, responses((status = 200, body = Announcement)))]
async fn announcement(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.announcement()).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Lead {
    /// Seconds between worse routes and none, 0 to 3600; as configured when left out.
    lead: Option<u64>,
}

/// Takes the relay out of service: worse routes first, then none. It translates what still comes.
#[utoipa::path(post, path = path::DRAIN, params(Lead),
    responses((status = 200, body = Announcement), (status = 400, body = Refusal)))]
async fn drain(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Query(Lead { lead }): Query<Lead>,
) -> Reply {
    if let Some(lead) = lead.filter(|lead| *lead > LEAD) {
        return Err(invalid(format!("lead is {lead} s"), format!("give 0 to {LEAD} seconds")).into());
    }
    let lead = lead.map(Duration::from_secs);
    Ok(json(&app.change(move |relay| relay.drain(peer, lead)).await?))
}

/// Takes a drain back.
#[utoipa::path(post, path = path::UNDRAIN, responses((status = 200, body = Announcement)))]
async fn undrain(State(app): State<App>, Extension(peer): Extension<Peer>) -> Reply {
    Ok(json(&app.change(move |relay| relay.undrain(peer)).await?))
}

/// What the mappings in use hash to, whole and in parts.
#[utoipa::path(get, path = path::DIGEST, responses((status = 200, body = Digests), (status = 503, body = Refusal)))]
async fn digest(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.digest()).await?))
}

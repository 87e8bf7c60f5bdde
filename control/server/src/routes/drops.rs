//! Dropped packets.

use axum::extract::{Path, State};
use control_api::{Code, DropSample, DropSamples, Drops, Refusal, path};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Query, invalid};
use crate::reply::{Reply, json};

/// Samples in an answer, unless it is asked for more or fewer.
const LAST: u32 = 20;
/// Samples in an answer at most.
const MOST: u32 = 1000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(drops)).routes(routes!(samples)).routes(routes!(sample))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Only that reason.
    reason: Option<String>,
}

/// Every drop reason: how many, how fast, since when, and what to check. Reading changes none.
#[utoipa::path(get, path = path::DROPS, params(Reason), responses(
    (status = 200, body = Drops), (status = 400, body = Refusal),
))]
async fn drops(State(app): State<App>, Query(Reason { reason }): Query<Reason>) -> Reply {
    let Drops(mut rows) = app.ask(|relay| relay.drops()).await?;
    if let Some(reason) = reason {
        rows.retain(|row| row.reason == reason);
        if rows.is_empty() {
            let reason: String = reason.chars().take(100).collect();
            let remedy = "`borderctl drops --all` shows them";
            return Err(invalid(format!("{reason:?} is no drop reason"), remedy).into());
        }
    }
    Ok(json(&Drops(rows)))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// So many at most, 1000 at most; 20 when left out.
    last: Option<u32>,
    /// Only of that reason.
    reason: Option<String>,
}

/// Samples of dropped packets, newest first.
#[utoipa::path(get, path = path::DROP_SAMPLES, params(Which), responses(
    (status = 200, body = DropSamples), (status = 400, body = Refusal),
))]
async fn samples(State(app): State<App>, Query(Which { last, reason }): Query<Which>) -> Reply {
    let last = last.unwrap_or(LAST).min(MOST);
    Ok(json(&app.ask(move |relay| relay.drop_samples(reason.as_deref(), last)).await?))
}

/// One sample by its number. The newest 32 of each reason and worker are kept.
#[utoipa::path(get, path = path::DROP_SAMPLE, params(("id" = u64, Path, description = "its number")), responses(
    (status = 200, body = DropSample), (status = 404, body = Refusal),
))]
async fn sample(State(app): State<App>, Path(id): Path<String>) -> Reply {
    let id = id.parse().map_err(|_| {
        invalid(
            format!("{:?} is no number of a sample", id.chars().take(40).collect::<String>()),
            "`borderctl drops --last 20` shows them",
        )
    })?;
    let sample = app.ask(move |relay| relay.drop_sample(id)).await?;
    let sample = sample.ok_or_else(|| {
        Refusal::new(
            Code::NotFound,
            format!("there is no sample {id} of a dropped packet"),
            "the newest 32 of each reason and worker are kept: `borderctl drops --last 20` shows them",
        )
    })?;
    Ok(json(&sample))
}

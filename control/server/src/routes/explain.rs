//! What the data path would do with a packet.

use axum::body::Body;
use axum::extract::State;
use control_api::{Explanation, Question, Refusal, path};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use crate::body;
use crate::reply::{Reply, json};

/// Longest question: the largest IP packet in hexadecimal, with blanks between its bytes.
const QUESTION: usize = 256 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// What the data path would do with a packet, and why. Changes nothing, and costs the workers nothing.
#[utoipa::path(post, path = path::EXPLAIN, request_body = Question, responses(
    (status = 200, body = Explanation), (status = 400, body = Refusal), (status = 503, body = Refusal),
))]
async fn explain(State(app): State<App>, body: Body) -> Reply {
    let question: Question = body::object(body, &app.limits, QUESTION).await?;
    Ok(json(&app.ask(move |relay| relay.explain(&question)).await?))
}

//! Mappings as they are.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::State;
use control_api::{Entry, LINES, Lookup, Pools, Refusal, path};
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Client, Query, invalid, listing};
use crate::body::{ipv4_prefix, ipv6_prefix};
use crate::relay::{Entries, ListQuery};
use crate::reply::{Reply, json, with_etag, with_type};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(eams))
        .routes(routes!(eam))
        .routes(routes!(lookup))
        .routes(routes!(pools))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct List {
    /// Only mappings with a prefix inside this address or prefix, or around it.
    within: Option<String>,
    /// Only those of that owner: `store`, or a file's name.
    owner: Option<String>,
    /// So many at most.
    limit: Option<u64>,
}

/// Every mapping of one moment, one object a line, ordered by IPv4 prefix.
#[utoipa::path(get, path = path::EAMS, params(List), responses(
    (status = 200, body = Entry, content_type = LINES, description = "one object a line"),
    (status = 400, body = Refusal),
))]
async fn eams(State(app): State<App>, Extension(connection): Client, Query(list): Query<List>) -> Reply {
    let within = list.within.as_deref().map(prefix).transpose()?;
    let query = ListQuery { within, owner: list.owner, limit: list.limit };
    let Entries { revision, slices } = app.ask(move |relay| relay.eams(&query)).await?;
    let body = listing::body(&app, slices, connection.busy());
    Ok(with_etag(with_type(body, LINES), revision))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct One {
    /// The IPv4 or IPv6 prefix, or the address, that is mapped.
    prefix: String,
}

/// One mapping, by the prefix it maps.
#[utoipa::path(get, path = path::EAM, params(One), responses(
    (status = 200, body = Entry), (status = 400, body = Refusal), (status = 404, body = Refusal),
))]
async fn eam(State(app): State<App>, Query(one): Query<One>) -> Reply {
    let prefix = prefix(&one.prefix)?;
    Ok(json(&app.ask(move |relay| relay.eam(prefix)).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Address {
    /// An IPv4 or IPv6 address.
    address: String,
}

/// How an address is translated, and why.
#[utoipa::path(get, path = path::LOOKUP, params(Address), responses(
    (status = 200, body = Lookup), (status = 400, body = Refusal),
))]
async fn lookup(State(app): State<App>, Query(Address { address }): Query<Address>) -> Reply {
    let address: IpAddr = address
        .parse()
        .map_err(|_| invalid(format!("{address:?} is no address"), "give one such as 192.0.2.1"))?;
    Ok(json(&app.ask(move |relay| relay.lookup(address)).await?))
}

/// The service pools, and what is free in them.
#[utoipa::path(get, path = path::POOLS, responses((status = 200, body = Pools)))]
async fn pools(State(app): State<App>) -> Reply {
    Ok(json(&app.ask(|relay| relay.pools()).await?))
}

pub(super) fn prefix(text: &str) -> Result<IpNet, Refusal> {
    let net =
        if text.contains(':') { ipv6_prefix(text).map(IpNet::V6) } else { ipv4_prefix(text).map(IpNet::V4) };
    net.map_err(|finding| invalid(format!("{:?} {}", finding.value, finding.message), finding.remedy))
}

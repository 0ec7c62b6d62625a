//! Commands and queries as JSON over HTTP, for an application that has no protocol of its own:
//! `POST /write`, `POST /read`, `POST /read-stale`; and `/admin` (`admin`).
//!
//! A failure is an object with `error`, and `applied`: `no` (it has changed nothing and never will)
//! or `unknown`.

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::{Json, Response};
use axum::routing::post;

use super::admin;
use super::answer::{answered, failed};
use crate::api::MAX_COMMAND_BYTES;
use crate::application::{Application, RequestId};
use crate::node::{Error, Node};

/// A JSON text is longer than what it becomes.
const MAX_BODY_BYTES: usize = 2 * MAX_COMMAND_BYTES;
/// Names the client of a write that is to be applied once: 32 hexadecimal digits.
const CLIENT_ID_HEADER: &str = "client-id";
/// Numbers the writes of that client: 1 or more.
const SEQUENCE_HEADER: &str = "sequence";

/// The paths of `node`'s application.
pub(crate) fn json_router<A: Application>(node: Node<A>) -> Router {
    Router::new()
        .route("/write", post(write::<A>))
        .route("/read", post(read::<A>))
        .route("/read-stale", post(read_stale::<A>))
        .merge(admin::router())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(node)
}

async fn write<A: Application>(
    State(node): State<Node<A>>,
    headers: HeaderMap,
    command: Result<Json<A::Command>, JsonRejection>,
) -> Response {
    let (Json(command), id) = match (command, request_id(&headers)) {
        (Ok(command), Ok(id)) => (command, id),
        (Err(rejection), _) => return failed(&Error::Refused(rejection.body_text())),
        (_, Err(reason)) => return failed(&Error::Refused(reason)),
    };
    answered(match id {
        Some(id) => node.write_once(id, command).await,
        None => node.write(command).await,
    })
}

async fn read<A: Application>(
    State(node): State<Node<A>>,
    query: Result<Json<A::Query>, JsonRejection>,
) -> Response {
    match query {
        Ok(Json(query)) => answered(node.read(query).await),
        Err(rejection) => failed(&Error::Refused(rejection.body_text())),
    }
}

/// From what the asked node has applied, however old that is.
async fn read_stale<A: Application>(
    State(node): State<Node<A>>,
    query: Result<Json<A::Query>, JsonRejection>,
) -> Response {
    match query {
        Ok(Json(query)) => answered(node.read_stale(query).await),
        Err(rejection) => failed(&Error::Refused(rejection.body_text())),
    }
}

fn request_id(headers: &HeaderMap) -> Result<Option<RequestId>, String> {
    let said = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (said(CLIENT_ID_HEADER), said(SEQUENCE_HEADER)) {
        (None, None) => Ok(None),
        (Some(client), Some(sequence)) => {
            let client_id = (client.len() == 32).then(|| u128::from_str_radix(client, 16).ok()).flatten();
            let client_id = client_id.ok_or("client-id has not 32 hexadecimal digits")?.to_be_bytes();
            let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0);
            Ok(Some(RequestId { client_id, sequence: sequence.ok_or("sequence is not a number from 1 up")? }))
        }
        _ => Err("client-id and sequence are given together, or neither".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_named_whole_or_not_at_all() {
        let id = |client: Option<&str>, sequence: Option<&str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(CLIENT_ID_HEADER, client), (SEQUENCE_HEADER, sequence)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            request_id(&headers)
        };
        let client = format!("{:032x}", 7);
        assert_eq!(id(None, None), Ok(None));
        let named = id(Some(&client), Some("3")).unwrap().unwrap();
        assert_eq!((named.client_hex(), named.sequence), (client.clone(), 3));
        for (client, sequence) in [
            (Some(&*client), None),
            (None, Some("1")),
            (Some(&*client), Some("0")),
            (Some("7"), Some("1")),
            (Some(&client[1..]), Some("1")),
        ] {
            id(client, sequence).unwrap_err();
        }
    }
}

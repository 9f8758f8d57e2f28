//! A server that is as careless as all real ones together: it executes whatever
//! comes out when a request is read in any way in which some server reads it.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::Service;

use crate::careless::{Outcome, execute_all, fold, readings};
use crate::loose_json::Loose;
use crate::support::mcp::Log;

/// Writes down what it executes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lenient {
    pub(crate) log: Log,
}

impl Lenient {
    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Response<Full<Bytes>> {
        let Outcome { executed, id } = execute_all(headers, body);
        for name in &executed {
            self.log.push(name);
        }
        let mut response = Response::new(Full::default());
        if id.is_none() && executed.is_empty() {
            *response.status_mut() = StatusCode::ACCEPTED;
            return response;
        }
        let id = id.unwrap_or_else(|| "null".to_owned());
        let answer = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"done"}}]}}}}"#
        );
        *response.body_mut() = Full::from(answer);
        let media_type = "application/json".parse().unwrap();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        response
    }
}

impl<B> Service<Request<B>> for Lenient
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: fmt::Debug,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut headers = head.headers;
            let Ok(body) = body.collect().await else {
                return Ok(Response::new(Full::default()));
            };
            // Some servers merge trailers into the headers.
            for (name, value) in body.trailers().into_iter().flatten() {
                headers.append(name, value.clone());
            }
            Ok(server.answer(&headers, &body.to_bytes()))
        })
    }
}

/// Whether a string is in a body, in whatever way somebody could read it.
pub(crate) fn mentions(body: &[u8], wanted: &str) -> bool {
    readings(body).iter().any(|value| has_string(value, wanted))
}

fn has_string(value: &Loose, wanted: &str) -> bool {
    match value {
        Loose::Text(text) | Loose::Word(text) => fold(text) == wanted,
        Loose::List(items) => items.iter().any(|item| has_string(item, wanted)),
        Loose::Object(members) => members
            .iter()
            .any(|(key, value)| fold(key) == wanted || has_string(value, wanted)),
    }
}

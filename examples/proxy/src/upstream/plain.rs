//! Connections to the one server that is asked by plain HTTP/1.1, of one thread.
//!
//! The client of hyper-util would do, as it does where there is TLS. It is for every server
//! there is, though: to find a connection by scheme and name, and to write a request for it,
//! takes it a sixth of all that a call takes without the policy.

use std::{
    future::ready,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
};

use futures_util::{FutureExt, future::Either};
use http::{HeaderValue, Request, Response, Uri, header::HOST, uri::PathAndQuery};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service};

use super::{IDLE, MAX_IDLE};
use crate::{connect::Connector, lock::lock};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// There was no connection, so the server has seen nothing.
    Unreachable(BoxError),
    /// It may have seen the request.
    BrokenOff(BoxError),
}

/// What becomes of a request.
pub(super) type Asked =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, Unanswered>> + Send>>;

/// The server; clones use the same connections.
pub(super) struct Plain<B>(Arc<Server<B>>);

struct Server<B> {
    connector: Connector,
    /// Where it is.
    uri: Uri,
    /// What the first line of each request names.
    target: Uri,
    host: HeaderValue,
    kept: Mutex<Kept<B>>,
}

/// Connections that wait for a call, the last one used at the end.
struct Kept<B> {
    idle: Vec<Idle<B>>,
    /// Whether somebody lets go of those that wait for too long.
    is_looked_after: bool,
}

struct Idle<B> {
    connection: SendRequest<B>,
    since: Instant,
}

impl<B> Clone for Plain<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> Plain<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// `None` if this is no URL of a server.
    pub(super) fn new(connector: Connector, uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        let host = match authority.port_u16() {
            Some(port) if port != 80 => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        // A copy: clones of a part of one URL would all be counted in one place.
        let target = uri.path_and_query().map(PathAndQuery::to_string);
        Some(Self(Arc::new(Server {
            connector,
            uri: uri.clone(),
            target: target.as_deref().unwrap_or("/").parse().ok()?,
            host: HeaderValue::try_from(host).ok()?,
            kept: Mutex::new(Kept {
                idle: Vec::new(),
                is_looked_after: false,
            }),
        })))
    }

    /// Sends it, whatever target and host it has.
    pub(super) fn ask(&self, mut request: Request<B>) -> Asked {
        *request.uri_mut() = self.0.target.clone();
        request.headers_mut().insert(HOST, self.0.host.clone());
        self.send(request)
    }

    fn send(&self, request: Request<B>) -> Asked {
        let plain = self.clone();
        let Some(mut connection) = self.take() else {
            return Box::pin(plain.connect_and_send(request));
        };
        // Here and not in what is returned: that would have to hold the request.
        let sent = connection.try_send_request(request);
        // Not in an `async` block: that would have to hold what it waits for twice.
        Box::pin(sent.then(move |answer| match answer {
            Ok(response) => {
                plain.keep(connection);
                Either::Left(ready(Ok(response)))
            }
            // The server had closed it already. Each time there is one less.
            Err(mut error) => match error.take_message() {
                Some(unsent) => Either::Right(plain.send(unsent)),
                None => {
                    let error = error.into_error().into();
                    Either::Left(ready(Err(Unanswered::BrokenOff(error))))
                }
            },
        }))
    }

    async fn connect_and_send(self, request: Request<B>) -> Result<Response<Incoming>, Unanswered> {
        let mut connection = self.connect().await.map_err(Unanswered::Unreachable)?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| Unanswered::BrokenOff(error.into()))?;
        self.keep(connection);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<B>, BoxError> {
        let Server { connector, uri, .. } = &*self.0;
        let stream = connector.clone().call(uri.clone()).await?;
        let (connection, driving) = handshake(stream).await?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told, too.
            if let Err(error) = driving.await {
                tracing::debug!(%error, "connection to the upstream ended");
            }
        });
        Ok(connection)
    }

    /// One that can be used at once.
    fn take(&self) -> Option<SendRequest<B>> {
        let mut kept = lock(&self.0.kept);
        while let Some(last) = kept.idle.pop() {
            if last.is_too_old() {
                // So are all the others.
                kept.idle.clear();
                return None;
            }
            if last.connection.is_ready() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps it for the next call, once it has read the answer to this one.
    fn keep(&self, mut connection: SendRequest<B>) {
        if connection.is_ready() {
            return put(&self.0, connection);
        }
        let server = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            if connection.ready().await.is_ok()
                && let Some(server) = server.upgrade()
            {
                put(&server, connection);
            }
        });
    }
}

impl<B> Idle<B> {
    fn is_too_old(&self) -> bool {
        self.since.elapsed() >= IDLE
    }
}

fn put<B: Send + 'static>(server: &Arc<Server<B>>, connection: SendRequest<B>) {
    let mut kept = lock(&server.kept);
    if kept.idle.len() >= MAX_IDLE {
        return;
    }
    let since = Instant::now();
    kept.idle.push(Idle { connection, since });
    if !kept.is_looked_after {
        kept.is_looked_after = true;
        tokio::spawn(look_after(Arc::downgrade(server)));
    }
}

/// Closes what waits for too long, until nothing waits.
async fn look_after<B>(server: Weak<Server<B>>) {
    loop {
        sleep(IDLE).await;
        let Some(server) = server.upgrade() else {
            return;
        };
        let mut kept = lock(&server.kept);
        kept.idle
            .retain(|one| one.connection.is_ready() && !one.is_too_old());
        if kept.idle.is_empty() {
            kept.is_looked_after = false;
            return;
        }
    }
}

#[cfg(test)]
#[path = "plain/tests.rs"]
mod tests;

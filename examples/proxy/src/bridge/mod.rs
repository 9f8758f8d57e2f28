//! A server that speaks stdio, for clients that speak streamable HTTP.
//!
//! This is the innermost service, in the place of an upstream: what arrives here
//! has been judged, and what leaves is filtered. Messages are carried as they
//! are, and looked at only to find out who is answered.
//!
//! Each session of a client has a server process of its own. A session ends when
//! its client says so, when nobody uses it for half an hour, when the same caller
//! begins too many others, and with the proxy; its server and every process that
//! the server started end with it. A proxy that is killed outright cannot see to
//! that: then the servers' stdin closes, upon which MCP servers end by
//! themselves. A server that ends alone is started again with the next request,
//! and told what the client said when the session began; what it had in memory is
//! lost.
//!
//! Each file tells one story: [`http`] what a request asks for and how it is
//! answered, [`sessions`] which sessions there are, [`session`] what belongs to
//! one, [`supervisor`] and [`backoff`] how its server is started and ends,
//! [`routes`] who waits for what, [`routing`] where the server's messages go,
//! [`streams`] how they get to the client, [`stderr`] what else the server says.

mod backoff;
mod http;
mod routes;
mod routing;
mod session;
mod sessions;
mod stderr;
mod streams;
mod supervisor;

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use bytes::Bytes;
use hyper::body::Body;
use mcp_policy::{MessageGuard, PolicySource};
use tokio::time::timeout;
use tower::{BoxError, Service};

use self::{http::AnswerBody, session::Shared, sessions::Sessions, supervisor::GRACE};
use crate::child::Program;

/// Sessions and their servers, as a tower service. It never fails: when there is
/// no answer, it gives one.
#[derive(Clone)]
pub(crate) struct Bridge {
    sessions: Arc<Sessions>,
    shared: Arc<Shared>,
}

impl Bridge {
    /// Starts nothing yet. Needs a runtime, for the sessions that nobody uses.
    pub(crate) fn new(
        program: impl Into<Program>,
        policy: impl PolicySource,
        shows_stderr: bool,
    ) -> Self {
        let sessions = Arc::<Sessions>::default();
        tokio::spawn(Arc::clone(&sessions).keep_tidy());
        let mut shared = Shared::new(program, MessageGuard::from_source(policy));
        shared.shows_stderr = shows_stderr;
        Self {
            sessions,
            shared: Arc::new(shared),
        }
    }

    /// Ends every session, and waits until no server is left.
    pub(crate) async fn end(&self) {
        self.sessions.end_all();
        let mut servers = std::mem::take(&mut *self.shared.servers());
        let all_ended = async { while servers.join_next().await.is_some() {} };
        // Killed by then, or out of reach.
        let _ = timeout(GRACE.saturating_mul(4), all_ended).await;
    }
}

impl<B> Service<Request<B>> for Bridge
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let bridge = self.clone();
        Box::pin(async move { Ok(bridge.answer(request).await) })
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

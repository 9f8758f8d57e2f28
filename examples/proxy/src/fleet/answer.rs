//! How a request is answered, whoever comes with it.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::{Layer, ServiceExt};

use super::{
    Fleet, Running, Who,
    guarded::{Body, Guarded},
    identify::Unknown,
    issued,
    life::{self, Life},
};
use crate::{
    access::{self, ENDPOINT},
    headers,
    jwt::Expiry,
    stream::only_listens,
};

impl Fleet {
    /// Answers any request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let running = self.current().await;
        if running.is_unreadable() {
            return unreadable();
        }
        if let Err(foreign) = running.access.judge(&request) {
            return boxed(foreign.refused());
        }
        if let Some(pages) = &self.settled.pages
            && let Some(page) = pages.page(&request).await
        {
            return boxed(page);
        }
        let Some(cors) = &running.cors else {
            return self.route(&running, request).await;
        };
        let running = &running;
        let service = tower::service_fn(|request| async move {
            Ok::<_, Infallible>(self.route(running, request).await)
        });
        match cors.layer(service).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Hands a request to the server that its path names, if the caller may use that.
    async fn route(&self, running: &Arc<Running>, request: Request<Incoming>) -> Response<Body> {
        let mut running = Arc::clone(running);
        if let Some(metadata) = self.metadata(&running, &request) {
            return boxed(metadata);
        }
        let name = request.uri().path().strip_prefix(ENDPOINT);
        let name = name.and_then(|name| name.strip_prefix('/'));
        let Some(name) = name.map(str::to_owned) else {
            return nothing_here();
        };
        let mut who = running.who(&name, &request);
        if let Ok(known) = &who
            && let Some(file) = running.policy_file(known)
            && !file.is_current()
        {
            self.reload().await;
            running = self.running();
            if running.is_unreadable() {
                return unreadable();
            }
            who = running.who(&name, &request);
        }
        let Some(server) = running.servers.get(&name) else {
            return nothing_here();
        };
        let mut request = request;
        let admitted = match self.admit(who, server, &name, &mut request).await {
            Ok(admitted) => admitted,
            Err(refusal) => return boxed(refusal),
        };
        headers::keep_what_is_the_callers(request.headers_mut(), false);
        let listens = only_listens(&request);
        let answer = admitted.life.bounds(server.answer(request).await);
        match admitted.expiry {
            Some(expiry) if listens => life::until(expiry, answer),
            // What was asked in time is answered, however long that takes.
            _ => answer,
        }
    }

    /// Tells the policy who calls, or says why they may not.
    async fn admit<B>(
        &self,
        who: Result<Who<'_>, Unknown>,
        server: &Guarded,
        name: &str,
        request: &mut Request<B>,
    ) -> Result<Admitted, Whole> {
        let (caller, life, expiry) = match (who, &server.issued) {
            (Ok(Who::Everybody(everybody)), None) => (None, &everybody.life, None),
            (Ok(Who::Everybody(everybody)), Some(issued)) => {
                let known = issued.who(request.headers()).await;
                let (caller, expiry) = known.map_err(|refused| {
                    self.refused.say(name, refused.why());
                    issued.refused(&refused)
                })?;
                (Some(caller), &everybody.life, Some(expiry))
            }
            (Ok(Who::Known(known)), _) => (Some(known.caller.clone()), &known.life, None),
            (Err(unknown), _) => {
                self.refused.say(name, unknown.why());
                return Err(unknown.refused());
            }
        };
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        if let Some(expiry) = expiry {
            request.extensions_mut().insert(expiry);
        }
        let life = life.clone();
        Ok(Admitted { life, expiry })
    }

    /// What clients have to know of a server before they have a token for it.
    fn metadata<B>(&self, running: &Running, request: &Request<B>) -> Option<Whole> {
        let path = request.uri().path().strip_prefix(issued::METADATA)?;
        let public = self.settled.start.public_url.as_ref()?;
        // Something in front may have taken its own part away.
        let path = path.strip_prefix(&**public.path()).unwrap_or(path);
        let name = path.strip_prefix(ENDPOINT)?.strip_prefix('/')?;
        let issued = running.servers.get(name)?.issued.as_ref()?;
        Some(match *request.method() {
            Method::GET => issued.metadata(name),
            _ => {
                let text = "Use GET.\n";
                let kind = "text/plain; charset=utf-8";
                let mut answer: Whole = access::answer(StatusCode::METHOD_NOT_ALLOWED, kind, text);
                let allowed = http::HeaderValue::from_static("GET");
                answer.headers_mut().insert(ALLOW, allowed);
                answer
            }
        })
    }
}

/// For how long somebody was let in.
struct Admitted {
    life: Life,
    /// Until when their token is one, if it expires.
    expiry: Option<Expiry>,
}

type Whole = Response<Full<Bytes>>;

fn boxed(response: Whole) -> Response<Body> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

fn nothing_here() -> Response<Body> {
    let text = "Nothing is here. The MCP endpoint of a server is /mcp/ and its name.\n";
    let answer: Whole = access::answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text);
    boxed(answer)
}

/// Who is let in is not known, so nobody is.
fn unreadable() -> Response<Body> {
    let text = "The configuration of this proxy cannot be read, so nobody is let in. The operator \
                finds in its log why.";
    let mut answer: Whole = access::refused(StatusCode::SERVICE_UNAVAILABLE, text);
    let later = http::HeaderValue::from_static("5");
    answer.headers_mut().insert(RETRY_AFTER, later);
    boxed(answer)
}

//! One of the servers, behind its policies.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use mcp_policy::{NotSent, Permit, PolicyLayer, RequestBody, SessionStore};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use super::{
    Settled,
    issued::{Issued, METADATA},
    life::Life,
    policies::Policies,
};
use crate::{
    access::{self, ENDPOINT},
    answers::Answers,
    bridge::Bridge,
    child::Program,
    config::{Behind, Command, Config, Limits, Server},
    failure::Failure,
    gateway::{Timely, guarded},
    jwt::{EXPIRED, Expiry},
    message,
    running::Reach,
    stack,
    upstream::Upstream,
};

/// Whatever is answered.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A service that answers for one server.
type Answering = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// A server and what is in front of it.
pub(super) struct Guarded {
    /// What it was made of.
    behind: Behind,
    limits: Limits,
    hidden: Vec<String>,
    /// What callers have to show, if that is a token of an issuer.
    pub(super) issued: Option<Arc<Issued>>,
    pub(super) policies: Policies,
    /// Kept when the rest is made anew.
    sessions: Arc<dyn SessionStore>,
    /// Of what is asked.
    life: Life,
    back: Back,
    service: Answering,
}

/// What is asked.
#[derive(Clone)]
enum Back {
    Upstream(Box<Upstream<RequestBody<Timely>>>),
    Bridge(Bridge),
}

impl Guarded {
    /// The server as a configuration has it; as much of the old one goes on as is the
    /// same. Its policies are yet to be replaced.
    pub(super) fn made(
        name: &str,
        server: &Server,
        config: &Config,
        old: Option<&Arc<Self>>,
        settled: &Settled,
    ) -> Result<Arc<Self>, Failure> {
        let hidden = match &server.behind {
            Behind::Command(_) => config.hidden.clone(),
            // It has no environment.
            Behind::Upstream(_) => Vec::new(),
        };
        let issued = issued(name, server, old, settled)?;
        let same = old.filter(|old| {
            let asks_the_same =
                old.issued.as_ref().map(Arc::as_ptr) == issued.as_ref().map(Arc::as_ptr);
            old.behind == server.behind && old.hidden == hidden && asks_the_same
        });
        if let Some(same) = same.filter(|same| same.limits == config.limits) {
            return Ok(Arc::clone(same));
        }
        let policies = match old {
            Some(old) => old.policies.clone(),
            None => Policies::new(name, &settled.lockdown),
        };
        let sessions = match old {
            Some(old) => Arc::clone(&old.sessions),
            None => settled.stores.sessions(name),
        };
        let back = match (same, &server.behind) {
            (Some(same), _) => same.back.clone(),
            (None, Behind::Upstream(target)) => {
                Back::Upstream(Box::new(stack::upstream(target.clone())?))
            }
            (None, Behind::Command(command)) => {
                let program = program(command, hidden.clone());
                let bridge = Bridge::new(program, policies.clone(), command.shows_stderr);
                Back::Bridge(bridge)
            }
        };
        let layer = layer(name, &policies, &sessions, &config.limits, settled);
        let life = same.map_or_else(Life::begin, |same| same.life.clone());
        Ok(Arc::new(Self {
            behind: server.behind.clone(),
            limits: config.limits.clone(),
            hidden,
            issued,
            sessions,
            service: back.behind(layer, &life),
            life,
            policies,
            back,
        }))
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match self.service.clone().oneshot(request).await {
            Ok(response) => self.life.bounds(response),
            Err(never) => match never {},
        }
    }

    /// How it is asked, by whoever is not a caller.
    pub(super) fn reach(&self) -> Reach {
        match &self.behind {
            Behind::Upstream(target) => Reach::Upstream(Box::new(target.clone())),
            Behind::Command(command) => {
                Reach::Command(Box::new(program(command, self.hidden.clone())))
            }
        }
    }

    /// Whether what is asked is the same in the other.
    pub(super) fn goes_on_in(&self, other: &Self) -> bool {
        self.life.is(&other.life)
    }

    /// Ends its streams, and what was started for it.
    pub(super) async fn end(&self) {
        self.life.end();
        if let Back::Bridge(bridge) = &self.back {
            bridge.end().await;
        }
    }
}

impl Back {
    /// What has waited for too long is not asked any more, wherever it waited.
    fn behind(&self, layer: PolicyLayer, life: &Life) -> Answering {
        match self {
            Self::Upstream(upstream) => {
                let upstream = Upstream::clone(upstream);
                boxed(guarded(layer, in_time(life, upstream, Either::Right)))
            }
            Self::Bridge(bridge) => {
                boxed(guarded(layer, in_time(life, bridge.clone(), Either::Left)))
            }
        }
    }
}

fn program(command: &Command, hidden: Vec<String>) -> Program {
    Program {
        command: command.command.clone(),
        environment: command.environment.clone(),
        hidden,
        folder: None,
    }
}

/// The service, which is not asked any more when it is over, or the token of who asks has
/// expired.
fn in_time<S, B>(
    life: &Life,
    service: S,
    body: fn(Full<Bytes>) -> S::Body,
) -> impl Answers<B, Body = S::Body> + Sync
where
    S: Answers<B> + Sync,
    B: Send + 'static,
{
    let life = life.clone();
    tower::service_fn(move |request: Request<B>| {
        let (mut service, life) = (service.clone(), life.clone());
        async move {
            let expiry = request.extensions().get::<Expiry>();
            let why = match expiry {
                _ if life.is_over() => GONE,
                Some(expiry) if expiry.is_over() => EXPIRED,
                _ => return service.call(request).await,
            };
            Ok(not_asked(&request, why).map(body))
        }
    })
}

/// Of a server that is gone or has been replaced.
const GONE: &str = "The MCP server behind this proxy has been replaced or removed since this call \
                    came, so it was not made. Try again.";

/// Instead of an answer.
fn not_asked<B>(request: &Request<B>, why: &str) -> Response<Full<Bytes>> {
    let permit = request.extensions().get::<Permit>();
    let id = permit.and_then(Permit::request_id);
    let body = message::error(id, message::INTERNAL_ERROR, why);
    let mut response: Response<Full<Bytes>> =
        access::answer(StatusCode::BAD_GATEWAY, "application/json", body);
    response.extensions_mut().insert(NotSent);
    response
}

fn boxed<S: Answers<Incoming> + Sync>(service: S) -> Answering {
    let service = service.map_response(|response: Response<S::Body>| {
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    });
    BoxCloneSyncService::new(service)
}

/// What callers have to show; the old one, whose keys are known, if it asks the same.
fn issued(
    name: &str,
    server: &Server,
    old: Option<&Arc<Guarded>>,
    settled: &Settled,
) -> Result<Option<Arc<Issued>>, Failure> {
    let Some(said) = &server.issued else {
        return Ok(None);
    };
    // Only another start changes by which URL the proxy is known.
    let Some(public) = &settled.start.public_url else {
        let why = format!("the server `{name}` asks for tokens: `public_url` needs another start");
        return Err(Failure::start(why));
    };
    let path = format!("{ENDPOINT}/{name}");
    let url = public.at(&path);
    let known = old.and_then(|old| old.issued.as_ref());
    if let Some(known) = known.filter(|known| known.is(said, &url)) {
        return Ok(Some(Arc::clone(known)));
    }
    let metadata = format!("{}{}", public.origin(), public.well_known(METADATA, &path));
    Ok(Some(Arc::new(Issued::new(said, url, metadata)?)))
}

fn layer(
    name: &str,
    policies: &Policies,
    sessions: &Arc<dyn SessionStore>,
    limits: &Limits,
    settled: &Settled,
) -> PolicyLayer {
    let stores = settled.stores.with(Arc::clone(sessions));
    let layer = stack::layer(
        policies.clone(),
        name,
        Some(Arc::clone(&settled.audit)),
        stores,
    );
    let layer = stack::told_of(settled.start.public_url.clone(), layer);
    let mut layer = layer.approval_store(Arc::clone(&settled.approvals));
    if let Some(bytes) = limits.max_body_size {
        layer = layer.max_body_size(bytes);
    }
    if let Some(bytes) = limits.max_response_size {
        layer = layer.max_response_size(bytes);
    }
    layer = layer.sharing_budgets_of(&settled.budgets);
    if let Some(time) = limits.approval_wait {
        layer = layer.approval_wait(time);
    }
    match limits.sessions_per_minute {
        Some(most) => layer.dangerous().sessions_per_minute(most),
        None => layer,
    }
}

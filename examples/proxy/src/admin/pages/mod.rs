//! Pages where operators see what waits, and decide about it.
//!
//! An operator signs in with a token and has a [session](sessions) from then on, of which
//! a cookie tells. What changes something is a form of these pages, which the `Origin` of
//! the request and a secret of the session show. Without scripts everything works;
//! with them a page shows [at once](live) what changes.

mod form;
mod live;
mod sessions;
mod view;

use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{LOCATION, ORIGIN, SET_COOKIE},
};
use http_body_util::{Either, Full};
use hyper::body::Body;
use mcp_policy::{ApprovalId, Approvals, NotDecided};
use tokio::{sync::Semaphore, time::Instant};
use tower::BoxError;

pub(super) use self::live::Live;
use self::{
    form::Form,
    sessions::{Sessions, Visitor},
    view::Card,
};
use super::{
    ALL_STATES, PATH,
    api::{self, Refusal, Wanted},
    operators::Operators,
    site::Answer,
};
use crate::page;

const SCRIPT: &str = "/assets/approvals.js";
const LOGIN: &str = "/login";
const LOGOUT: &str = "/logout";
const EVENTS: &str = "/approvals/events";

/// Requests that a page shows in full; further ones follow when these are decided.
const MOST_SHOWN: usize = 50;
/// Requests that have ended, or wait for their use, of which a page tells.
const MOST_PAST: usize = 30;
/// Pages that hear at once what changes.
const MOST_LIVE: usize = 64;

/// Whether only a browser wants this.
pub(super) fn is_page_alone(path: &str) -> bool {
    matches!(path, SCRIPT | page::STYLE | LOGIN | LOGOUT | EVENTS)
}

#[derive(Debug)]
pub(super) struct Pages {
    operators: Operators,
    approvals: Approvals,
    sessions: Arc<Sessions>,
    live: Arc<Semaphore>,
}

#[derive(Template)]
#[template(path = "list.html")]
struct List<'a> {
    visitor: &'a Visitor,
    waiting: usize,
    shown: Vec<Card<'a>>,
    past: Vec<Card<'a>>,
}

#[derive(Template)]
#[template(path = "one.html")]
struct One<'a> {
    visitor: &'a Visitor,
    card: Card<'a>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    next: &'a str,
    is_wrong: bool,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    text: &'a str,
}

impl Pages {
    pub(super) fn new(operators: Operators, approvals: Approvals) -> Self {
        Self {
            operators,
            approvals,
            sessions: Arc::default(),
            live: Arc::new(Semaphore::new(MOST_LIVE)),
        }
    }

    pub(super) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        match self.serve(request).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let text = &*refusal.text;
                page::html(refusal.status, &Message { text }).map(Either::Left)
            }
        }
    }

    async fn serve<B>(&self, request: Request<B>) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let path = request.uri().path();
        let answer = match (request.method(), path) {
            (&Method::GET, page::STYLE) => page::style(),
            (&Method::GET, SCRIPT) => page::script(),
            (&Method::GET, "/") => see(PATH),
            (&Method::GET, EVENTS) => return Ok(self.events(&request)),
            (&Method::POST, LOGIN) => self.log_in(request).await?,
            (&Method::POST, LOGOUT) => self.log_out(request).await?,
            (&Method::POST, _) => self.decide(request).await?,
            (&Method::GET, LOGIN) => see(PATH),
            (&Method::GET, _) => self.show(&request).await?,
            _ => return Err(Refusal::wrong_method(Method::GET)),
        };
        Ok(answer.map(Either::Left))
    }

    fn visitor<B>(&self, request: &Request<B>) -> Option<Visitor> {
        self.sessions.visitor(request.headers(), Instant::now())
    }

    async fn show<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, Refusal> {
        let path = request.uri().path();
        let wanted = Wanted::of(path).ok_or_else(api::nothing_here)?;
        let Some(visitor) = self.visitor(request) else {
            let login = Login {
                next: path,
                is_wrong: false,
            };
            return Ok(page::html(StatusCode::UNAUTHORIZED, &login));
        };
        match wanted {
            Wanted::List => self.list(&visitor).await,
            Wanted::One(id) => self.one(&visitor, id).await,
            Wanted::Approve(_) | Wanted::Deny(_) => Err(Refusal::wrong_method(Method::POST)),
        }
    }

    async fn list(&self, visitor: &Visitor) -> Result<Response<Full<Bytes>>, Refusal> {
        let all = self.approvals.list(&ALL_STATES).await?;
        let (waiting, mut past): (Vec<_>, Vec<_>) =
            all.iter().partition(|request| view::is_pending(request));
        past.sort_by_key(|request| {
            std::cmp::Reverse(request.decided_at().unwrap_or(request.created_at()))
        });
        past.truncate(MOST_PAST);
        let list = List {
            visitor,
            waiting: waiting.len(),
            shown: waiting
                .into_iter()
                .take(MOST_SHOWN)
                .map(Card::short)
                .collect(),
            past: past.into_iter().map(Card::short).collect(),
        };
        Ok(page::html(StatusCode::OK, &list))
    }

    async fn one(
        &self,
        visitor: &Visitor,
        id: ApprovalId,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let found = self.approvals.get(id).await?;
        let found = found.ok_or(NotDecided::Unknown)?;
        let card = Card::whole(&found);
        Ok(page::html(StatusCode::OK, &One { visitor, card }))
    }

    async fn decide<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (id, approves) = match Wanted::of(request.uri().path()) {
            Some(Wanted::Approve(id)) => (id, true),
            Some(Wanted::Deny(id)) => (id, false),
            Some(_) => return Err(Refusal::wrong_method(Method::GET)),
            None => return Err(api::nothing_here()),
        };
        let (visitor, form) = self.signed(request).await?;
        let note = form.get("note");
        let note = note.trim();
        let note = (!note.is_empty()).then(|| note.to_owned());
        let operator = &visitor.operator;
        api::decide(&self.approvals, id, operator, approves, note).await?;
        Ok(see(PATH))
    }

    /// What changes, for as long as the session lasts.
    fn events<B>(&self, request: &Request<B>) -> Answer {
        let refused = |status| page::response(status, "text/plain", Either::Left(Full::default()));
        let Some(visitor) = self.visitor(request) else {
            return refused(StatusCode::UNAUTHORIZED);
        };
        let Ok(permit) = Arc::clone(&self.live).try_acquire_owned() else {
            return refused(StatusCode::SERVICE_UNAVAILABLE);
        };
        let sessions = Arc::clone(&self.sessions);
        let live = Live::new(self.approvals.changes(), sessions, visitor, permit);
        page::response(StatusCode::OK, "text/event-stream", Either::Right(live))
    }

    async fn log_in<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        is_from_here(&request)?;
        let is_secure = is_by_tls(&request);
        let form = Form::read(request.into_body()).await?;
        // Nowhere else.
        let next = form.get("next");
        let next = match Wanted::of(&next) {
            Some(Wanted::List | Wanted::One(_)) => &*next,
            _ => PATH,
        };
        let Some(operator) = self.operators.whose(form.get("token").trim().as_bytes()) else {
            tracing::warn!("refused whoever signed in on the admin address without a right token");
            let is_wrong = true;
            let login = Login { next, is_wrong };
            return Ok(page::html(StatusCode::UNAUTHORIZED, &login));
        };
        let cookie = self.sessions.begin(operator, Instant::now(), is_secure);
        tracing::info!(operator = &**operator, "signed in on the admin address");
        Ok(with_cookie(see(next), &cookie))
    }

    async fn log_out<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (visitor, _) = self.signed(request).await?;
        let cookie = self.sessions.end(&visitor);
        Ok(with_cookie(see(PATH), &cookie))
    }

    /// A form of these pages, and who sent it.
    async fn signed<B>(&self, request: Request<B>) -> Result<(Visitor, Form), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        is_from_here(&request)?;
        let visitor = self.visitor(&request).ok_or_else(|| {
            let text = "Nothing was done: you are not signed in, or not any more.";
            Refusal::new(StatusCode::UNAUTHORIZED, text)
        })?;
        let form = Form::read(request.into_body()).await?;
        if !visitor.has_sent(&form.get("csrf")) {
            return Err(not_from_here());
        }
        Ok((visitor, form))
    }
}

/// Browsers say from which page a form comes, and that it is one of these has been seen
/// by now.
fn is_from_here<B>(request: &Request<B>) -> Result<(), Refusal> {
    match request.headers().contains_key(ORIGIN) {
        true => Ok(()),
        false => Err(not_from_here()),
    }
}

fn not_from_here() -> Refusal {
    let text = "Nothing was done: this was not sent by a page from here that is up to date. Load \
                the page again.";
    Refusal::new(StatusCode::FORBIDDEN, text)
}

/// Whether something in front of the proxy encrypts what the browser sends.
fn is_by_tls<B>(request: &Request<B>) -> bool {
    let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
    origin.is_some_and(|origin| origin.starts_with(b"https://"))
}

/// Sends the browser to another page.
fn see(path: &str) -> Response<Full<Bytes>> {
    let mut response = page::response(StatusCode::SEE_OTHER, "text/plain", Full::default());
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

fn with_cookie(mut response: Response<Full<Bytes>>, cookie: &str) -> Response<Full<Bytes>> {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

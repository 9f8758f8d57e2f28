//! The console: pages where operators see what runs and what is decided, change policies,
//! and decide about what waits.
//!
//! An operator signs in with a token and has a [session](sessions) from then on, of which
//! a cookie tells. What changes something is a form of these pages, which the `Origin` of
//! the request and a secret of the session show, from somebody whose
//! [role](super::roles) allows that. Without scripts everything works; with them a page
//! shows [at once](live) what changes.
//!
//! [`frame`] is around every page. The pages are an [`overview`], the [`tools`] that agents
//! can call, [`policies`], [`approvals`], the [`log`], [`limits`] and [`grants`].

mod approvals;
mod card;
mod chart;
mod form;
mod frame;
mod grants;
mod limits;
mod live;
mod log;
mod overview;
mod policies;
mod sessions;
mod tools;
mod words;

use std::{collections::HashMap, fmt, sync::Arc, time::SystemTime};

use askama::Template;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{LOCATION, ORIGIN, SET_COOKIE},
};
use http_body_util::{Either, Full};
use hyper::body::Body;
use mcp_policy::Approvals;
use tokio::{sync::Semaphore, time::Instant};
use tower::BoxError;

pub(super) use self::live::Live;
use self::{
    form::Form,
    frame::Here,
    live::Changes,
    log::Records,
    sessions::{Sessions, Visitor},
};
use super::{
    Told,
    api::{self, LONGEST_BODY, Refusal, Wanted},
    operators::Operators,
    roles::Power,
    site::Answer,
};
use crate::{page, running::Now, throttle::Throttle};

const SCRIPT: &str = "/assets/console.js";
const POLICIES_SCRIPT: &str = "/assets/policies.js";
const LOGIN: &str = "/login";
const LOGOUT: &str = "/logout";
const APPROVAL_EVENTS: &str = "/events/approvals";
const DECISION_EVENTS: &str = "/events/decisions";
const TOOL_EVENTS: &str = "/events/tools";

/// Pages of an operator that hear at once what changes. None of them takes those of others.
const MOST_LIVE: usize = 16;

/// Who reads or changes the configuration at once.
const MOST_CHANGING: usize = 8;

/// Pages of tools that are made at once, however many are wanted: calls need the processor,
/// too.
const MOST_LOOKING: usize = 2;

/// Something whole.
type Page = Response<Full<Bytes>>;

/// Whether only a browser wants this.
pub(super) fn is_page_alone(path: &str) -> bool {
    matches!(
        path,
        SCRIPT
            | POLICIES_SCRIPT
            | page::STYLE
            | LOGIN
            | LOGOUT
            | APPROVAL_EVENTS
            | DECISION_EVENTS
            | TOOL_EVENTS
    )
}

pub(super) struct Pages {
    operators: Operators,
    approvals: Approvals,
    /// Everything else that is shown.
    told: Told,
    records: Records,
    sessions: Arc<Sessions>,
    /// For whom there can be how many more.
    live: HashMap<Arc<str>, Arc<Semaphore>>,
    /// Since when it is counted what is decided.
    begun: SystemTime,
    changing: Arc<Semaphore>,
    looking: Arc<Semaphore>,
    /// Of those who have no right token.
    refused: Throttle,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
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
    pub(super) fn new(operators: Operators, approvals: Approvals, told: Told) -> Self {
        let live = operators.names();
        let live = live.map(|name| (Arc::clone(name), Arc::new(Semaphore::new(MOST_LIVE))));
        Self {
            live: live.collect(),
            operators,
            approvals,
            records: Records::new(told.recent.clone(), told.audit.as_ref()),
            told,
            sessions: Arc::default(),
            begun: SystemTime::now(),
            changing: Arc::new(Semaphore::new(MOST_CHANGING)),
            looking: Arc::new(Semaphore::new(MOST_LOOKING)),
            refused: Throttle::default(),
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
            (&Method::GET, POLICIES_SCRIPT) => page::policies_script(),
            (&Method::GET, APPROVAL_EVENTS) => {
                let changes = || live::of_approvals(self.approvals.changes());
                return Ok(self.events(&request, changes));
            }
            (&Method::GET, DECISION_EVENTS) => {
                let changes = || {
                    let decisions = self.told.recent.changes();
                    live::of_either(decisions, self.told.news.changes())
                };
                return Ok(self.events(&request, changes));
            }
            (&Method::GET, TOOL_EVENTS) => {
                let changes = || {
                    let answers = self.told.known.changes();
                    live::of_either(answers, self.told.news.changes())
                };
                return Ok(self.events(&request, changes));
            }
            (&Method::GET, LOGIN) => see("/"),
            (&Method::GET, _) => self.show(&request).await?,
            (&Method::POST, LOGIN) => self.log_in(request).await?,
            (&Method::POST, LOGOUT) => self.log_out(request).await?,
            (&Method::POST, _) => self.change(request).await?,
            _ => return Err(Refusal::wrong_method(Method::GET)),
        };
        Ok(answer.map(Either::Left))
    }

    fn visitor<B>(&self, request: &Request<B>) -> Option<Visitor> {
        self.sessions.visitor(request.headers(), Instant::now())
    }

    async fn show<B>(&self, request: &Request<B>) -> Result<Page, Refusal> {
        let path = request.uri().path();
        let here = Here::of(path).ok_or_else(api::nothing_here)?;
        let Some(visitor) = self.visitor(request) else {
            let login = Login {
                next: path,
                is_wrong: false,
            };
            return Ok(page::html(StatusCode::UNAUTHORIZED, &login));
        };
        let visitor = &visitor;
        let query = Form::of_query(request.uri().query());
        match here {
            Here::Overview => self.overview(visitor, &query).await,
            Here::Tools => self.tools(visitor, path, &query).await,
            Here::Policies => self.policies(visitor, path, &query).await,
            Here::Approvals => self.approvals(visitor, path).await,
            Here::Log => self.log(visitor, path, &query).await,
            Here::Limits => self.limits(visitor, path, &query).await,
            Here::Grants => self.grants(visitor, path).await,
        }
    }

    /// Remembers for the overview what an operator has changed.
    fn tell(&self, visitor: &Visitor, text: &str) {
        self.told.news.tell_by(&visitor.operator, text);
    }

    /// What runs now.
    async fn now(&self) -> Result<Now, Refusal> {
        let running = Arc::clone(&self.told.running);
        // It looks at files.
        let now = tokio::task::spawn_blocking(move || running.now()).await;
        now.map_err(|_| could_not_be_made())
    }

    async fn change<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        match Here::of(request.uri().path()) {
            Some(Here::Approvals) => self.decide(request).await,
            Some(Here::Policies) => self.change_policy(request).await,
            Some(Here::Tools) => self.change_tools(request).await,
            Some(Here::Limits) => self.change_limits(request).await,
            Some(Here::Grants) => self.change_grants(request).await,
            Some(Here::Overview | Here::Log) => Err(Refusal::wrong_method(Method::GET)),
            None => Err(api::nothing_here()),
        }
    }

    /// What changes, for as long as the session lasts.
    fn events<B>(&self, request: &Request<B>, changes: impl FnOnce() -> Changes) -> Answer {
        let refused = |status| page::response(status, "text/plain", Either::Left(Full::default()));
        let Some(visitor) = self.visitor(request) else {
            return refused(StatusCode::UNAUTHORIZED);
        };
        let live = self.live.get(&visitor.operator).map(Arc::clone);
        let permit = live.and_then(|live| live.try_acquire_owned().ok());
        let Some(permit) = permit else {
            return refused(StatusCode::SERVICE_UNAVAILABLE);
        };
        let sessions = Arc::clone(&self.sessions);
        let live = Live::new(changes(), sessions, visitor, permit);
        page::response(StatusCode::OK, "text/event-stream", Either::Right(live))
    }

    async fn log_in<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        is_from_here(&request)?;
        let is_secure = is_by_tls(&request);
        let form = Form::read(request.into_body(), LONGEST_BODY).await?;
        let next = form.get("next");
        let next = if is_page(&next) { &*next } else { "/" };
        let Some(operator) = self.operators.whose(form.get("token").trim().as_bytes()) else {
            if let Some(others) = self.refused.due() {
                tracing::warn!(
                    others,
                    "refused whoever signed in on the admin address without a right token"
                );
            }
            let is_wrong = true;
            let login = Login { next, is_wrong };
            return Ok(page::html(StatusCode::UNAUTHORIZED, &login));
        };
        let cookie = self.sessions.begin(operator, Instant::now(), is_secure);
        let name = &*operator.name;
        tracing::info!(operator = name, role = %operator.role, "signed in on the admin address");
        Ok(with_cookie(see(next), &cookie))
    }

    async fn log_out<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (visitor, _) = self.signed(request, LONGEST_BODY).await?;
        let cookie = self.sessions.end(&visitor);
        Ok(with_cookie(see("/"), &cookie))
    }

    /// A form of these pages, from somebody who may do what it says.
    async fn signed_by<B>(
        &self,
        power: Power,
        request: Request<B>,
    ) -> Result<(Visitor, Form), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        self.signed_up_to(LONGEST_BODY, power, request).await
    }

    /// The same of so many bytes.
    async fn signed_up_to<B>(
        &self,
        most: usize,
        power: Power,
        request: Request<B>,
    ) -> Result<(Visitor, Form), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (visitor, form) = self.signed(request, most).await?;
        match visitor.may(power) {
            true => Ok((visitor, form)),
            false => Err(Refusal::not_theirs(visitor.role)),
        }
    }

    /// A form of these pages, and who sent it.
    async fn signed<B>(&self, request: Request<B>, most: usize) -> Result<(Visitor, Form), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        is_from_here(&request)?;
        let visitor = self.visitor(&request).ok_or_else(|| {
            let text = "Nothing was done: you are not signed in, or not any more.";
            Refusal::new(StatusCode::UNAUTHORIZED, text)
        })?;
        let form = Form::read(request.into_body(), most).await?;
        if !visitor.has_sent(&form.get("csrf")) {
            return Err(not_from_here());
        }
        Ok((visitor, form))
    }
}

/// Whether somebody who has just signed in is sent there: nowhere else.
fn is_page(path: &str) -> bool {
    match Here::of(path) {
        Some(Here::Approvals) => {
            let wanted = Wanted::of(path);
            matches!(wanted, Some(Wanted::List | Wanted::One(_)))
        }
        here => here.is_some(),
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

fn could_not_be_made() -> Refusal {
    let text = "The page could not be made. Load it again.";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
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
fn see(path: &str) -> Page {
    let mut response = page::response(StatusCode::SEE_OTHER, "text/plain", Full::default());
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

fn with_cookie(mut response: Page, cookie: &str) -> Page {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

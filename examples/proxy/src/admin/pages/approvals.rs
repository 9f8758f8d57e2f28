//! What waits for an approval, and what has become of it.

use askama::Template;
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Body;
use mcp_policy::{ApprovalId, ApprovalState, NotDecided};
use tower::BoxError;

use super::{
    super::{
        PATH,
        api::{self, Refusal, Wanted},
        roles::Power,
    },
    Page, Pages,
    card::{self, Card},
    frame::{Frame, Here},
    see,
    sessions::Visitor,
};
use crate::page;

/// Requests that a page shows in full; further ones follow when these are decided.
const MOST_SHOWN: usize = 50;
/// Requests that have ended, or wait for their use, of which a page tells.
const MOST_PAST: usize = 30;

#[derive(Template)]
#[template(path = "approvals.html")]
struct List<'a> {
    frame: Frame<'a>,
    waiting: usize,
    shown: Vec<Card<'a>>,
    past: Vec<Card<'a>>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct One<'a> {
    frame: Frame<'a>,
    card: Card<'a>,
}

impl Pages {
    pub(super) async fn approvals(&self, visitor: &Visitor, path: &str) -> Result<Page, Refusal> {
        match Wanted::of(path).ok_or_else(api::nothing_here)? {
            Wanted::List => self.waiting(visitor).await,
            Wanted::One(id) => self.one(visitor, id).await,
            Wanted::Approve(_) | Wanted::Deny(_) => Err(Refusal::wrong_method(http::Method::POST)),
        }
    }

    async fn waiting(&self, visitor: &Visitor) -> Result<Page, Refusal> {
        let all = self.approvals.list(&ApprovalState::ALL).await?;
        let (waiting, mut past): (Vec<_>, Vec<_>) =
            all.iter().partition(|request| card::is_pending(request));
        past.sort_by_key(|request| {
            std::cmp::Reverse(request.decided_at().unwrap_or(request.created_at()))
        });
        past.truncate(MOST_PAST);
        let list = List {
            frame: Frame::new(visitor, Here::Approvals),
            waiting: waiting.len(),
            shown: waiting
                .into_iter()
                .take(MOST_SHOWN)
                .map(|request| Card::short(request, visitor))
                .collect(),
            past: past
                .into_iter()
                .map(|request| Card::short(request, visitor))
                .collect(),
        };
        Ok(page::html(StatusCode::OK, &list))
    }

    async fn one(&self, visitor: &Visitor, id: ApprovalId) -> Result<Page, Refusal> {
        let found = self.approvals.get(id).await?;
        let found = found.ok_or(NotDecided::Unknown)?;
        let one = One {
            frame: Frame::new(visitor, Here::Approvals),
            card: Card::whole(&found, visitor),
        };
        Ok(page::html(StatusCode::OK, &one))
    }

    pub(super) async fn decide<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (id, approves) = match Wanted::of(request.uri().path()) {
            Some(Wanted::Approve(id)) => (id, true),
            Some(Wanted::Deny(id)) => (id, false),
            Some(_) => return Err(Refusal::wrong_method(http::Method::GET)),
            None => return Err(api::nothing_here()),
        };
        let (visitor, form) = self.signed_by(Power::Decide, request).await?;
        let note = form.get("note");
        let note = note.trim();
        let note = (!note.is_empty()).then(|| note.to_owned());
        let operator = &visitor.operator;
        api::decide(&self.approvals, id, operator, approves, note).await?;
        Ok(see(PATH))
    }
}

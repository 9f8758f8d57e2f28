//! The admin API: JSON over HTTP, for programs of those who decide about what waits.
//!
//! Who somebody is, their bearer token says alone, not a cookie.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use mcp_policy::{
    ApprovalError, ApprovalId, ApprovalRequest, ApprovalState, Approvals, NotDecided, Ruling,
};
use serde::Deserialize;
use serde_json::json;
use tower::BoxError;

use super::{
    Status,
    operators::{Operator, Operators},
    roles::{Power, Role},
    view,
};
use crate::{json_text, throttle::Throttle};

/// Bytes of a request body, unless it is for something longer.
pub(super) const LONGEST_BODY: usize = 16 * 1024;

pub(super) struct Api {
    operators: Operators,
    approvals: Approvals,
    status: Option<Status>,
    /// Of those who have no right token.
    refused: Throttle,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(operators: Operators, approvals: Approvals, status: Option<Status>) -> Self {
        Self {
            operators,
            approvals,
            status,
            refused: Throttle::default(),
        }
    }

    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        match self.serve(request).await {
            Ok(text) => response(StatusCode::OK, text),
            Err(refusal) => refusal.response(),
        }
    }

    async fn serve<B>(&self, request: Request<B>) -> Result<String, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let operator = self.admit(&request)?;
        if let (Some(status), super::GATEWAY) = (&self.status, request.uri().path()) {
            return match *request.method() {
                Method::GET => Ok(json_text::one_line(&status().to_string())),
                _ => Err(Refusal::wrong_method(Method::GET)),
            };
        }
        let wanted = Wanted::of(request.uri().path()).ok_or_else(nothing_here)?;
        if !operator.may(Power::Decide) {
            return Err(Refusal::not_theirs(operator.role));
        }
        if request.method() != wanted.method() {
            return Err(Refusal::wrong_method(wanted.method()));
        }
        let (id, approves) = match wanted {
            Wanted::List => {
                let states = states(request.uri().query())?;
                return Ok(view::all(&self.approvals.list(&states).await?));
            }
            Wanted::One(id) => {
                let found = self.approvals.get(id).await?;
                return Ok(view::one(&found.ok_or(NotDecided::Unknown)?));
            }
            Wanted::Approve(id) => (id, true),
            Wanted::Deny(id) => (id, false),
        };
        let note = note(request.into_body()).await?;
        let decided = decide(&self.approvals, id, &operator.name, approves, note).await?;
        Ok(view::one(&decided))
    }

    /// Who asks.
    fn admit<B>(&self, request: &Request<B>) -> Result<&Operator, Refusal> {
        self.operators.who(request.headers()).ok_or_else(|| {
            if let Some(others) = self.refused.due() {
                tracing::warn!(
                    others,
                    "refused whoever called the admin address without a right token"
                );
            }
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Send the token of an operator, as `Authorization: Bearer TOKEN`.",
            )
        })
    }
}

/// Does what an operator has decided.
pub(super) async fn decide(
    approvals: &Approvals,
    id: ApprovalId,
    operator: &Arc<str>,
    approves: bool,
    note: Option<String>,
) -> Result<ApprovalRequest, Refusal> {
    let ruling = match approves {
        true => Ruling::approve(Arc::clone(operator)),
        false => Ruling::deny(Arc::clone(operator)),
    };
    let ruling = match note {
        Some(note) => ruling.with_note(&note),
        None => ruling,
    };
    let decided = approvals.decide(id, &ruling).await?;
    tracing::info!(approval = %id, operator = &**operator, state = %decided.state(), "decided");
    Ok(decided)
}

/// What a path means.
pub(super) enum Wanted {
    List,
    One(ApprovalId),
    Approve(ApprovalId),
    Deny(ApprovalId),
}

impl Wanted {
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(super::PATH)?;
        if rest.is_empty() {
            return Some(Self::List);
        }
        let (id, verb) = match rest.strip_prefix('/')?.split_once('/') {
            None => (rest.strip_prefix('/')?, None),
            Some((id, verb)) => (id, Some(verb)),
        };
        let id = ApprovalId::from_str(id).ok()?;
        match verb {
            None => Some(Self::One(id)),
            Some("approve") => Some(Self::Approve(id)),
            Some("deny") => Some(Self::Deny(id)),
            Some(_) => None,
        }
    }

    fn method(&self) -> Method {
        match self {
            Self::List | Self::One(_) => Method::GET,
            Self::Approve(_) | Self::Deny(_) => Method::POST,
        }
    }
}

/// Which states are asked for; those that are open unless that is said.
fn states(query: Option<&str>) -> Result<Vec<ApprovalState>, Refusal> {
    let state = match query {
        None | Some("") => {
            return Ok(ApprovalState::ALL
                .into_iter()
                .filter(|s| s.is_open())
                .collect());
        }
        Some(query) => query
            .strip_prefix("state=")
            .and_then(|name| name.parse().ok()),
    };
    state.map(|state| vec![state]).ok_or_else(|| {
        let names = ApprovalState::ALL.map(ApprovalState::as_str).join(", ");
        let text = format!("The query can only be `state=` and one of: {names}.");
        Refusal::new(StatusCode::BAD_REQUEST, text)
    })
}

/// What an operator says about a decision; a body is not needed.
async fn note<B>(body: B) -> Result<Option<String>, Refusal>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        note: Option<String>,
    }

    let bytes = whole(body, LONGEST_BODY).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let said: Said = serde_json::from_slice(&bytes).map_err(|_| {
        let text = "The body has to be left out, or to read like {\"note\": \"…\"}.";
        Refusal::new(StatusCode::BAD_REQUEST, text)
    })?;
    Ok(said.note)
}

/// A body of at most so many bytes.
pub(super) async fn whole<B>(body: B, most: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let body = Limited::new(body, most).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "The body is larger than {} KiB. Shorten what is in it.",
                most / 1024
            ),
        ),
        false => Refusal::new(
            StatusCode::BAD_REQUEST,
            "The body did not arrive whole. Send it again.",
        ),
    })?;
    Ok(body.to_bytes())
}

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
    state: Option<ApprovalState>,
    allow: Option<Method>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            state: None,
            allow: None,
        }
    }

    /// To somebody who has another role.
    pub(super) fn not_theirs(role: Role) -> Self {
        let text = format!("Nothing was done: that is not for the role {role}, which you have.");
        Self::new(StatusCode::FORBIDDEN, text)
    }

    pub(super) fn wrong_method(allow: Method) -> Self {
        Self {
            allow: Some(allow.clone()),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("Only {allow} is served here."),
            )
        }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let mut body = json!({ "error": self.text });
        if let (Some(state), Some(members)) = (self.state, body.as_object_mut()) {
            members.insert("state".to_owned(), state.as_str().into());
        }
        let mut response = response(self.status, body.to_string());
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"mcp-policy-proxy\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(value) = self
            .allow
            .and_then(|method| HeaderValue::from_str(method.as_str()).ok())
        {
            headers.insert(ALLOW, value);
        }
        response
    }
}

impl From<ApprovalError> for Refusal {
    fn from(error: ApprovalError) -> Self {
        match error {
            ApprovalError::NotDecided(why) => why.into(),
            error => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("Nothing was done: {error}. Try again."),
            ),
        }
    }
}

impl From<NotDecided> for Refusal {
    fn from(why: NotDecided) -> Self {
        match why {
            NotDecided::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "There is no such request, or not any more. See those that are open with \
                 `approvals list`.",
            ),
            NotDecided::NotPending(state) => Self {
                state: Some(state),
                ..Self::new(
                    StatusCode::CONFLICT,
                    format!("Nothing was changed: the request is {state} and waits for nobody."),
                )
            },
            NotDecided::OwnRequest => Self::new(
                StatusCode::FORBIDDEN,
                "Nobody decides about a request of their own. Another operator has to do it.",
            ),
            other => Self::new(StatusCode::FORBIDDEN, format!("Nothing was done: {other}.")),
        }
    }
}

pub(super) fn nothing_here() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "Nothing is here. What waits is at /approvals, /approvals/ID, /approvals/ID/approve and \
         /approvals/ID/deny, with the ID from the list.",
    )
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        // Arguments are kept no longer than somebody looks at them.
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

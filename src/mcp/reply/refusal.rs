//! Why a message is not let through.

use std::time::Duration;

use super::Reply;
use crate::mcp::fault::Fault;
use crate::mcp::headers::{HeaderFault, UnclearSession};

/// Why a message is not let through, in the words of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body is not a message that every reader understands alike.
    Malformed { code: i32, text: String },
    /// The headers do not fit the body.
    Headers { code: i32, text: String },
    /// The parameters do not have the types that the method needs.
    Params { text: String },
    /// A method that this server does not have.
    UnknownMethod { method: String },
    /// A tool, prompt, resource or task that this server does not have.
    Unknown { what: Thing, name: String },
    /// A task, and a client that does not say that it can follow one.
    TasksUndeclared,
    /// A tool that may not be called in this way: the model is told.
    Tool { text: String, place: Box<Place> },
    /// Another method that may not be used in this way.
    Denied { text: String, place: Box<Place> },
    /// Another method, which may not be used so often or so much.
    Limited { text: String, place: Box<Place> },
    /// Another method, which somebody has to approve first.
    Waits { text: String, place: Box<Place> },
    /// It waits for an approval, and the client is to come back with this state
    /// (2026-07-28).
    MoreAsked(Box<MoreAsked>),
    /// It waits for an approval, which can be followed on this page (2025-11-25).
    OpenPage { url: String, place: Box<Place> },
    /// A notification that was for us and not for the server.
    Taken,
    /// What a client answers a server that does not hear it. Some clients end their session
    /// when they are told so, and none would send it again.
    Unheard,
    /// The session does not exist, or is another caller's.
    NoSession,
    /// The HTTP method is not one of the transport.
    HttpMethod,
    /// The body is compressed or not declared to be JSON in UTF-8.
    MediaType { text: &'static str },
    /// The body is larger than the limit, in bytes.
    TooLarge { limit: usize },
    /// The body did not arrive whole.
    Incomplete,
    /// Too many bytes of other requests or answers are being held.
    Busy,
    /// The server answered something that cannot be passed on.
    BadAnswer { text: String },
    /// Something of ours failed, so nothing could be decided.
    Failed,
    /// It could not be counted or recorded.
    Unavailable { place: Box<Place> },
    /// A batch that has no answer, or is not to have it: what is said to each
    /// message that has an id.
    Batch { replies: Vec<Reply> },
}

impl Refusal {
    /// The refusal of a message that is no valid request.
    pub(crate) fn malformed(text: &str) -> Self {
        Self::Malformed {
            code: -32600,
            text: text.to_owned(),
        }
    }

    /// After what time the same could be let through, if that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Tool { place, .. } | Self::Limited { place, .. } => place.retry_after,
            _ => None,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Malformed {
            code: fault.code(),
            text: fault.to_string(),
        }
    }
}

impl From<UnclearSession> for Refusal {
    fn from(_: UnclearSession) -> Self {
        Self::NoSession
    }
}

impl From<HeaderFault> for Refusal {
    fn from(fault: HeaderFault) -> Self {
        Self::Headers {
            code: fault.code(),
            text: fault.to_string(),
        }
    }
}

/// With what a client is to come back, and what it is told meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MoreAsked {
    /// What the user is asked, if anything.
    pub(crate) asks: Option<Ask>,
    pub(crate) state: String,
    pub(crate) place: Place,
}

/// What the user of a client is asked, in words that hold no value of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To open a page.
    Page { url: String, message: String },
    /// To let the call go on.
    Form { message: String },
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Tool,
    Prompt,
    Resource,
    Task,
}

/// Where in the policy a refusal comes from. Boxed in a [`Refusal`], for which there is
/// room in every call, though few are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) rule: String,
    pub(crate) reason: String,
    /// By which the operator finds it in the records.
    pub(crate) decision: Option<Box<str>>,
    /// When the same could be let through, if it could and that is known.
    pub(crate) retry_after: Option<Duration>,
    /// The request for an approval that it waits for, or that was denied.
    pub(crate) approval: Option<Box<str>>,
}

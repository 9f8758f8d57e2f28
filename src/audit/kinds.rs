//! What a record tells by one word.

use serde::{Serialize, Serializer};

use crate::names::named;

/// What kind of message a client sent.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// A JSON-RPC request.
    Request,
    /// A JSON-RPC notification.
    Notification,
    /// The answer to a request of the server's.
    Response,
    /// A GET, which opens a stream of events.
    OpenStream,
    /// A DELETE, which ends a session.
    EndSession,
    /// None that could be read.
    Unreadable,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Request,
        Self::Notification,
        Self::Response,
        Self::OpenStream,
        Self::EndSession,
        Self::Unreadable,
    ];

    /// As it is written in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Notification => "notification",
            Self::Response => "response",
            Self::OpenStream => "open_stream",
            Self::EndSession => "end_session",
            Self::Unreadable => "unreadable",
        }
    }
}

named!(MessageKind, "kind of message");

impl Serialize for MessageKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What was decided.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may go on.
    Allowed,
    /// The policy refuses it.
    Denied,
    /// The policy hides what it names. The caller was not told so.
    Hidden,
    /// A limit of the policy is used up.
    Limited,
    /// Somebody has to approve it first.
    Waiting,
    /// It is not a message that may be sent like this.
    Invalid,
    /// It could not be decided, counted or recorded.
    Unavailable,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Allowed,
        Self::Denied,
        Self::Hidden,
        Self::Limited,
        Self::Waiting,
        Self::Invalid,
        Self::Unavailable,
    ];

    /// As it is written in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Hidden => "hidden",
            Self::Limited => "limited",
            Self::Waiting => "waiting",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

named!(Verdict, "verdict");

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How it ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The server answered, and its answer was passed on.
    Answered,
    /// The server began a stream of events, which is passed on as far as it can
    /// be checked.
    Streaming,
    /// The server answered, but its answer was not passed on: it could not be
    /// checked, or would have led elsewhere.
    Withheld,
    /// It was refused.
    Refused,
    /// The server did not answer: the service behind the layer failed.
    Failed,
    /// Nobody waited for the answer any more. The server may have been asked.
    Cancelled,
    /// It went on, and gets no answer that is seen here.
    Sent,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Answered,
        Self::Streaming,
        Self::Withheld,
        Self::Refused,
        Self::Failed,
        Self::Cancelled,
        Self::Sent,
    ];

    /// As it is written in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Streaming => "streaming",
            Self::Withheld => "withheld",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Sent => "sent",
        }
    }
}

named!(Ending, "ending of a message");

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

use std::fmt;

use crate::json::{self, ErrorKind};

/// Why a body is not a message. Says nothing of what the body held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not JSON, or JSON that parsers read differently.
    Json(json::Error),
    /// It is an array of messages.
    Batch,
    /// It is an array of more messages than are judged at once.
    TooManyInBatch,
    /// It is a JSON value other than an object.
    NotAnObject,
    /// A member that no message has.
    UnknownMember,
    /// A member whose name resembles one of the protocol's.
    LookAlikeMember,
    /// `jsonrpc` is not `"2.0"`.
    Version,
    /// The id is neither a string nor an integer that every reader keeps.
    Id,
    /// `method` is not a string, or an excessively long one.
    Method,
    /// The members do not make up a request, a notification or a response.
    Shape,
    /// `params` is not an object.
    ParamsNotAnObject,
    /// `params._meta` is not an object.
    MetaNotAnObject,
}

impl Fault {
    /// The JSON-RPC error code for it.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Json(error) if error.kind().breaks_grammar() => -32700,
            Self::ParamsNotAnObject | Self::MetaNotAnObject => -32602,
            _ => -32600,
        }
    }
}

impl From<json::Error> for Fault {
    fn from(error: json::Error) -> Self {
        Self::Json(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json(error) => match error.kind() {
                ErrorKind::Empty => {
                    return f.write_str("The body is empty. Send one JSON-RPC message.");
                }
                kind if kind.breaks_grammar() => {
                    return write!(f, "The body is not a JSON text in UTF-8: {error}.");
                }
                _ => {
                    return write!(
                        f,
                        "JSON readers differ on this body, so it is not let through: {error}."
                    );
                }
            },
            Self::Batch => "Batches are not accepted. Send each message in a request of its own.",
            Self::TooManyInBatch => "A batch may have 100 messages. Send the others in another.",
            Self::NotAnObject => "The body is not a JSON-RPC message, which is an object.",
            Self::UnknownMember => {
                "The message has a member other than jsonrpc, id, method, params, result and error."
            }
            Self::LookAlikeMember => {
                "The message has a member whose name some servers take for another. \
                 Use the names of the protocol exactly, without control characters."
            }
            Self::Version => "The member jsonrpc must be \"2.0\".",
            Self::Id => {
                "The id must be a string of at most 1024 bytes, or an integer between \
                 -(2^53-1) and 2^53-1 without fraction, exponent or negative zero."
            }
            Self::Method => "The method must be a string of at most 256 bytes.",
            Self::Shape => {
                "The message is neither a request (id, method), nor a notification (method), \
                 nor a response (id and either result or error)."
            }
            Self::ParamsNotAnObject => "The member params must be an object.",
            Self::MetaNotAnObject => "The member params._meta must be an object.",
        })
    }
}

impl std::error::Error for Fault {}

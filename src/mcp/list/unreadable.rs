use std::fmt;

use crate::json;

/// Why an answer cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not JSON.
    Json(json::Error),
    /// A member stands there twice, or in two spellings, so that readers
    /// differ in which list they see.
    Ambiguous,
    /// Something stands in the place of a list that is no list.
    NotAList,
}

impl From<json::Error> for Unreadable {
    fn from(error: json::Error) -> Self {
        Self::Json(error)
    }
}

impl Unreadable {
    /// The text for a client that waits for the answer.
    pub(crate) fn explain(self) -> String {
        format!(
            "The server's answer cannot be passed on: {self}. If this was a call, it was made \
             and may have had its effect; do not repeat it blindly."
        )
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "it is not readable JSON: {error}"),
            Self::Ambiguous => f.write_str("clients differ in which list they would read in it"),
            Self::NotAList => f.write_str("something else stands in the place of a list"),
        }
    }
}

impl std::error::Error for Unreadable {}

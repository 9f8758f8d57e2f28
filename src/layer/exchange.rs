//! What is remembered of a request until its answer has gone.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;

use super::config::Config;
use crate::engine::Judge;
use crate::mcp::message::Id;
use crate::mcp::reply;
use crate::mcp::version::Era;

/// What is remembered of a request while its answer is awaited.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) era: Era,
    /// The id as it was written.
    pub(super) id: Option<Bytes>,
    pub(super) version: Version,
    /// Whether the answer should hold a list.
    pub(super) for_list: bool,
    /// Whether it is a GET.
    pub(super) opens_stream: bool,
    pub(super) session: SessionStep,
}

/// What a request does to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SessionStep {
    /// It may begin one.
    Begin,
    /// It asks for this one to be ended.
    End(String),
    /// Nothing.
    None,
}

/// A request that may pass, and everything that its answer is judged by.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) config: Arc<Config>,
    pub(super) judge: Judge,
    pub(super) asked: Asked,
}

impl Asked {
    pub(super) fn id(&self) -> Option<Id<'_>> {
        Id::from_raw(self.id.as_deref()?)
    }

    pub(super) fn in_words(&self) -> reply::Asked<'_> {
        reply::Asked {
            era: self.era,
            id: self.id(),
        }
    }
}

//! What the fuzz targets in `fuzz/` see of the inside.
//!
//! No part of the crate's interface: there is none of it outside of tests and
//! builds for fuzzing.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::caller::Caller;
use crate::engine::{Engine, Judge};
use crate::mcp::list::{self, List, Visibility as _};
use crate::mcp::sse::{Event, Splitter, Verdict};
use crate::mcp::twin;
use crate::policy::Policy;

pub use crate::mcp::reading::{Reading, Reference, Said, Subscriptions, read, read_batch};

/// Reads a message slowly, and in another way.
pub fn read_slowly(body: &[u8]) -> Option<Reading> {
    twin::read(body)
}

/// Takes out of answers what one policy hides.
#[derive(Debug)]
pub struct Filter(Judge);

impl Filter {
    /// The filter of this policy.
    pub fn new(policy: Policy) -> Option<Self> {
        let engine = Engine::new(policy);
        let judge = engine.judge_for(&Caller::local(), &engine.sessions());
        judge.ok().map(Self)
    }

    /// The answer without what is hidden; `None` if it cannot be shown, or tells of
    /// somebody else's task only.
    pub fn filter(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let filtered = list::filter(answer, &self.0).ok()?;
        if filtered.is_foreign {
            return None;
        }
        Some(filtered.text.unwrap_or_else(|| answer.to_vec()))
    }

    /// Whether the server's text for models is taken out.
    pub fn strips_instructions(&self) -> bool {
        self.0.judges_instructions()
    }

    /// Whether a list of this kind is looked at; `None` if there is none.
    pub fn may_hide(&self, list: &str) -> Option<bool> {
        Some(self.0.may_hide(list_of(list)?))
    }

    /// Whether an entry of this name is shown in it.
    pub fn shows(&self, list: &str, name: &str) -> bool {
        list_of(list).is_some_and(|list| self.0.shows(list, name))
    }
}

fn list_of(member: &str) -> Option<List> {
    Some(match member {
        "tools" => List::Tools,
        "prompts" => List::Prompts,
        "resources" => List::Resources,
        "resourceTemplates" => List::ResourceTemplates,
        "tasks" => List::Tasks,
        _ => return None,
    })
}

/// Splits a stream of server-sent events. `judge` is given the type and the
/// data of each, and gives back the data that it is to have; `None` leaves it
/// out. `None` if more would have to be held than the limit.
pub fn split(
    chunks: impl IntoIterator<Item = Bytes>,
    limit: usize,
    mut judge: impl FnMut(&[u8], &[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<Bytes>> {
    let mut splitter = Splitter::new(limit);
    let mut out = VecDeque::new();
    let mut judge = |event: Event<'_>| match judge(event.name, event.data) {
        Some(data) if data == event.data => Verdict::Forward,
        Some(data) => Verdict::Rewrite(data),
        None => Verdict::Drop,
    };
    for chunk in chunks {
        splitter.push(chunk, &mut judge, &mut out).ok()?;
    }
    Some(out.into())
}

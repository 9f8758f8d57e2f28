//! Takes entries out of the lists in a server's answer.
//!
//! A list is recognised by its shape, wherever it comes from: an answer may
//! arrive on another stream than the question, so nothing here depends on what
//! was asked. Entries that stay are not touched by a byte.

mod caching;
mod entry;
mod members;
mod scan;
#[cfg(test)]
mod tests;
mod unreadable;

use std::borrow::Cow;

use smallvec::SmallVec;

use self::scan::Scan;
pub(crate) use self::unreadable::Unreadable;
use crate::json::{Profile, Reader, splice};

/// A kind of list that a server can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
    /// Of 2025-11-25.
    Tasks,
}

/// What a caller may see.
pub(crate) trait Visibility {
    /// Whether any entry of such a list could be hidden from this caller or
    /// another. A list of which this is not true stays as it is.
    fn may_hide(&self, list: List) -> bool;

    /// Whether the caller may see the entry with this name or URI.
    fn shows(&self, list: List, name: &str) -> bool;

    /// Whether the caller may be told of what becomes of this task.
    fn may_hear_of(&self, task: &str) -> bool;

    /// Whether the caller is told nothing but what answers a request.
    fn hears_only_answers(&self) -> bool;

    /// Whether the caller may see the entry with this name or URI, which is written like
    /// this.
    fn shows_entry(&self, list: List, name: &str, entry: &[u8]) -> bool {
        let _ = entry;
        self.shows(list, name)
    }

    /// Whether it depends on the server's text for the models of its clients if that is
    /// shown.
    fn judges_instructions(&self) -> bool;

    /// Whether this text is shown; it is any JSON value.
    fn shows_instructions(&self, text: &[u8]) -> bool;
}

/// A text that was read, and what it answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered<'a> {
    /// The text without the entries that the caller may not see; `None` if it
    /// stays as it is.
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) answers: SmallVec<[Answer<'a>; 1]>,
    /// Whether there is something in it that answers nothing.
    pub(crate) tells_unasked: bool,
    /// Whether nothing in it is for the caller.
    pub(crate) is_foreign: bool,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The id of the request, as it is written in the answer.
    pub(crate) id: &'a [u8],
    /// The task that the server made of the request, if it did.
    pub(crate) task: Option<NewTask<'a>>,
}

/// A task that a result tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTask<'a> {
    pub(crate) id: Cow<'a, str>,
    /// Whether it is told in the way of 2025-11-25, where the client asked for
    /// it.
    was_asked_for: bool,
}

impl NewTask<'_> {
    /// Whether a server can have made it of a call that asked for a task, or
    /// that did not.
    pub(crate) fn fits(&self, wants_task: bool) -> bool {
        wants_task || !self.was_asked_for
    }
}

/// Takes out the entries that the caller may not see.
pub(crate) fn filter<'a>(
    text: &'a [u8],
    visibility: &dyn Visibility,
) -> Result<Filtered<'a>, Unreadable> {
    let mut scan = Scan::new(visibility);
    let mut reader = Reader::new(text, Profile::ANSWER)?;
    scan.messages(&mut reader)?;
    reader.finish()?;
    let mut filtered = Filtered {
        text: None,
        answers: scan.answers,
        tells_unasked: scan.tells_unasked,
        is_foreign: scan.is_foreign,
    };
    if !scan.edits.is_empty() {
        scan.edits.sort_by_key(|edit| edit.span.start);
        let spliced = splice(text, &scan.edits).ok_or(Unreadable::Ambiguous)?;
        filtered.text = Some(spliced);
    }
    Ok(filtered)
}

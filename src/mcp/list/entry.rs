//! What the entry of a list is called.

use std::borrow::Cow;

use crate::json::{self, Kind, Reader};
use crate::mcp::key;

/// A string; `None` of anything else.
pub(super) fn text<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, json::Error> {
    if reader.kind()? == Kind::String {
        let text = reader.string()?;
        return Ok(Some(reader.decode(text)));
    }
    reader.skip()?;
    Ok(None)
}

/// The string that a member of an object holds.
pub(super) fn member_text<'a>(
    reader: &mut Reader<'a>,
    member: &str,
) -> Result<Option<Cow<'a, str>>, json::Error> {
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        return Ok(None);
    }
    let mut found = None;
    reader.object(|reader, key| {
        if reader.decode(key) == member {
            found = text(reader)?;
            return Ok(());
        }
        reader.skip().map(drop)
    })?;
    Ok(found)
}

/// What an entry of an array could be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The task of this id.
    Named(Cow<'a, str>),
    /// A task, but which one readers do not agree on.
    Ambiguous,
    /// No task.
    Other,
}

/// The task that comes next, if it is one.
pub(super) fn task_of<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, json::Error> {
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        return Ok(Entry::Other);
    }
    let mut found = Entry::Other;
    reader.object(|reader, key| {
        let key = reader.decode(key);
        if !key.eq_ignore_ascii_case("taskId") {
            return reader.skip().map(drop);
        }
        let is_only = found == Entry::Other && key == "taskId";
        found = match text(reader)? {
            Some(id) if is_only => Entry::Named(id),
            _ => Entry::Ambiguous,
        };
        Ok(())
    })?;
    Ok(found)
}

/// The name of an entry; `None` if it has none that every reader agrees on.
pub(super) fn entry_name<'a>(
    reader: &mut Reader<'a>,
    naming: &str,
) -> Result<Option<Cow<'a, str>>, json::Error> {
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        return Ok(None);
    }
    let mut name = None;
    let mut ambiguous = false;
    reader.object(|reader, key| {
        let key = reader.decode(key);
        if key == naming {
            ambiguous |= name.is_some();
            name = text(reader)?;
            ambiguous |= name.is_none();
            return Ok(());
        }
        ambiguous |= key::folds_onto(&key, &[naming]);
        reader.skip().map(drop)
    })?;
    Ok(name.filter(|_| !ambiguous))
}

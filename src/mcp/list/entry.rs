//! What the entry of a list is called.

use std::borrow::Cow;

use crate::json::{self, Kind, Reader, Written};
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
    match plain_name(reader, naming) {
        Some(name) => Ok(name.map(Cow::Borrowed)),
        None => any_name(reader, naming),
    }
}

/// The same, if everything in the entry is as it mostly is; else nothing is read.
fn plain_name<'a>(reader: &mut Reader<'a>, naming: &str) -> Option<Option<&'a str>> {
    let mut found = None;
    let is_plain = reader.plain_object(|key, value| {
        if key.bytes() != naming.as_bytes() {
            return !folds_onto(&key, naming);
        }
        let is_first = found.is_none();
        found = plain_text(&value).filter(|_| is_first);
        found.is_some()
    });
    is_plain.then_some(found)
}

#[inline(always)]
fn folds_onto(key: &Written<'_>, naming: &str) -> bool {
    let same = |text| key::folds_onto(text, &[naming]);
    !key::begins_otherwise(key.bytes(), &[naming]) && key.text().is_none_or(same)
}

/// What a string says that holds no escape sequence.
fn plain_text<'a>(value: &Written<'a>) -> Option<&'a str> {
    let text = value.text()?.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = !text.bytes().any(|byte| byte == b'\\');
    is_plain.then_some(text)
}

/// The same of any entry.
fn any_name<'a>(
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Profile;

    fn select(of: &[&'static str]) -> impl Strategy<Value = String> + use<> {
        prop::sample::select(of.to_vec()).prop_map(str::to_owned)
    }

    fn entry() -> impl Strategy<Value = String> {
        let key = select(&[
            "name",
            "name",
            "Name",
            "na_me",
            "nam\\u0065",
            "n\u{e9}",
            "\u{ff4e}ame",
            "title",
            "uri",
            "inputSchema",
            "",
            "a name that is long",
            "a name that is longer than all that is looked at at once, whatever that may be",
            "nam",
            "names",
            "name\\n",
        ]);
        let value = select(&[
            r#""tool""#,
            r#""tool""#,
            r#""to\u006fl""#,
            r#""a long name of a tool \" here""#,
            r#""a description that is longer than all that is looked at at once, \"name\": and on""#,
            "7",
            "null",
            "{}",
            "[]",
            r#"{"name":"x"}"#,
            r#"[{"a":[1,2]}]"#,
            "1.5e3",
            "\"\u{e9}\"",
            "nul",
            "{",
            "\"",
            "0",
        ]);
        let space = || select(&["", "", "", " ", "\n\t"]);
        let member = (space(), key, space(), space(), value).prop_map(
            |(before, key, after, behind, value)| {
                format!("{before}\"{key}\"{after}:{behind}{value}{after}")
            },
        );
        let long =
            ",{\"name\":\"other\"},{\"name\":\"another\"},{\"name\":\"and one more, far away\"}]";
        let around = select(&["", "", "", " ", "x", "]", long]);
        (around, prop::collection::vec(member, 0..6))
            .prop_map(|(behind, members)| format!("{{{}}}{behind}", members.join(",")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a_plain_entry_is_called_what_it_is_called_in_any_case(entry in entry()) {
            for naming in ["name", "uri"] {
                let read = || Reader::new(entry.as_bytes(), Profile::ANSWER).unwrap();
                let (mut fast, mut slow) = (read(), read());
                let (name, expected) = (plain_name(&mut fast, naming), any_name(&mut slow, naming));
                match name {
                    Some(name) => {
                        prop_assert_eq!(expected, Ok(name.map(Cow::Borrowed)));
                        prop_assert_eq!(fast.position(), slow.position());
                    }
                    None => {
                        prop_assert_eq!(fast.position(), 0);
                        prop_assert_eq!(entry_name(&mut fast, naming), expected);
                    }
                }
            }
        }
    }
}

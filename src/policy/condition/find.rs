//! The values at a path, for those that need the values themselves.

use std::ops::Range;

use super::keys::{Keys, Seen};
use super::path::{Path, Step};
use crate::json::{Error, Kind, Profile, Reader, Utf8};

/// Items of a list that somebody may want to have.
pub(in crate::policy) const MOST_FOUND: usize = 1000;

/// What is found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Found {
    /// A value: its bytes in the text, and its type.
    Value { span: Range<usize>, kind: Kind },
    /// An object without the member, or a list without the item.
    Missing,
    /// A step that leads nowhere or, for some reader, elsewhere.
    Undecidable,
}

/// Everything that a path leads to in the text of its root, in the order of the
/// text: one thing for a path without `[*]`, and with it one for every item.
/// Of more than [`MOST_FOUND`] items no more than one beyond.
pub(in crate::policy) fn find(path: &Path, text: &[u8]) -> Vec<Found> {
    find_past(path, text, &[])
}

/// The same in a text in which these values need not be read again.
pub(in crate::policy) fn find_past(
    path: &Path,
    text: &[u8],
    long_values: &[Range<usize>],
) -> Vec<Found> {
    let mut found = Vec::new();
    let mut read = || {
        let mut reader = Reader::of(Utf8::new(text)?, Profile::JUDGED);
        reader.go_past(long_values);
        follow(path.steps(), &mut reader, &mut found)?;
        reader.finish()
    };
    if read().is_err() {
        found = vec![Found::Undecidable];
    }
    found
}

/// Reads one value. Recursion is bounded by the length of a path.
fn follow(steps: &[Step], reader: &mut Reader<'_>, found: &mut Vec<Found>) -> Result<(), Error> {
    let kind = reader.kind()?;
    let Some((step, rest)) = steps.split_first() else {
        let span = reader.skip()?;
        found.push(Found::Value { span, kind });
        return Ok(());
    };
    match (step, kind) {
        (Step::Field(name), Kind::Object) => follow_field(name, rest, reader, found),
        (Step::Index(wanted), Kind::Array) => {
            let mut index = 0_usize;
            reader.array(|reader| {
                let here = index == *wanted;
                index = index.saturating_add(1);
                if here {
                    follow(rest, reader, found)
                } else {
                    reader.skip().map(drop)
                }
            })?;
            if *wanted >= index {
                found.push(Found::Missing);
            }
            Ok(())
        }
        (Step::Each, Kind::Array) => reader.array(|reader| {
            if found.len() > MOST_FOUND {
                reader.skip().map(drop)
            } else {
                follow(rest, reader, found)
            }
        }),
        _ => {
            found.push(Found::Undecidable);
            reader.skip().map(drop)
        }
    }
}

fn follow_field(
    name: &str,
    rest: &[Step],
    reader: &mut Reader<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Error> {
    let wanted = Keys::new([(name.into(), ())]);
    let before = found.len();
    let (mut met, mut ambiguous) = (false, false);
    reader.object(|reader, key| {
        let key = reader.decode(key);
        let key = Seen::new(&key);
        if wanted.exactly(0, &key).is_some() && !met {
            met = true;
            return follow(rest, reader, found);
        }
        ambiguous |= !wanted.alike(&key).is_empty();
        reader.skip().map(drop)
    })?;
    if ambiguous {
        found.truncate(before);
        found.push(Found::Undecidable);
    } else if !met {
        found.push(Found::Missing);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values as they are written, `-` for missing and `?` for undecidable.
    fn found(path: &str, text: &str) -> String {
        let found = find(&Path::parse(path).unwrap(), text.as_bytes());
        let found = found.into_iter().map(|found| match found {
            Found::Value { span, kind } => format!("{kind:?} {}", &text[span]),
            Found::Missing => "-".to_owned(),
            Found::Undecidable => "?".to_owned(),
        });
        found.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn very_many_are_found_to_be_too_many() {
        let path = Path::parse("args.a[*]").unwrap();
        let text = |count: usize| format!(r#"{{"a":[{}]}}"#, vec!["0"; count].join(","));
        assert_eq!(find(&path, text(1000).as_bytes()).len(), 1000);
        assert_eq!(find(&path, text(100_000).as_bytes()).len(), 1001);
    }

    #[test]
    fn every_value_at_a_path_is_found() {
        for (path, text, expected) in [
            ("args", r#" {"a": 1} "#, r#"Object {"a": 1}"#),
            ("args.a", r#"{"a": "x\n"}"#, r#"String "x\n""#),
            ("args.a", r#"{"\u0061": null}"#, "Null null"),
            ("args.a.b", r#"{"a": {"b": [1]}}"#, "Array [1]"),
            ("args.a[1]", r#"{"a": [1, 2, 3]}"#, "Number 2"),
            ("args.a[*]", r#"{"a": [1, true]}"#, "Number 1, Bool true"),
            (
                "args.a[*].b",
                r#"{"a": [{"b": 1}, {}, 2, {"B": 1}]}"#,
                "Number 1, -, ?, ?",
            ),
            ("args.a[*]", r#"{"a": []}"#, ""),
            ("args.a[*]", r#"{"a": {}}"#, "?"),
            ("args.a[*]", "{}", "-"),
            ("args.a", r#"{"b": 1}"#, "-"),
            ("args.a[3]", r#"{"a": [1]}"#, "-"),
            ("args.a", r#"{"a": 1, "A": 2}"#, "?"),
            ("args.a", r#"{"_a": 2, "a": 1}"#, "?"),
            ("args.a[*]", r#"{"a": [1, 2], "A": []}"#, "?"),
            ("args.a.b", r#"{"a": null}"#, "?"),
            ("args.a.b", r#"{"a": "{\"b\": 1}"}"#, "?"),
            ("args.a", r#"{"a": 1, "a": 2}"#, "?"),
            ("args.a", r#"{"a": 1"#, "?"),
            ("args.a", r#"{"a": 1} x"#, "?"),
        ] {
            assert_eq!(found(path, text), expected, "{path} in {text}");
        }
    }
}

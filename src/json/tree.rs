//! A JSON text as a tree that remembers where everything stood.
//!
//! For policy documents: duplicate members are kept, so that whoever reads the
//! tree can report every one of them.

use std::ops::Range;

use super::{Error, Kind, Profile, Reader};

/// The text is not JSON.
pub(crate) type SyntaxError = Error;

/// A value and the bytes it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// The token as it is written.
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// One member of an object.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// Reads a whole text.
pub(crate) fn parse(text: &[u8]) -> Result<Node, SyntaxError> {
    let mut reader = Reader::new(text, Profile::DOCUMENT)?;
    let node = read(&mut reader)?;
    reader.finish()?;
    Ok(node)
}

/// Recursion is bounded by the depth that the profile allows.
fn read(reader: &mut Reader<'_>) -> Result<Node, Error> {
    let kind = reader.kind()?;
    let start = reader.position();
    let value = match kind {
        Kind::Null => {
            reader.skip()?;
            Value::Null
        }
        Kind::Bool => {
            let span = reader.skip()?;
            Value::Bool(reader.raw(&span) == b"true")
        }
        Kind::Number => {
            let span = reader.skip()?;
            Value::Number(String::from_utf8_lossy(reader.raw(&span)).into_owned())
        }
        Kind::String => {
            let text = reader.string()?;
            Value::String(reader.decode(text).into_owned())
        }
        Kind::Array => {
            let mut items = Vec::new();
            reader.array(|reader| {
                items.push(read(reader)?);
                Ok::<(), Error>(())
            })?;
            Value::Array(items)
        }
        Kind::Object => {
            let mut members = Vec::new();
            reader.object(|reader, key| {
                members.push(Member {
                    key: reader.decode(key).into_owned(),
                    key_span: key.quoted(),
                    value: read(reader)?,
                });
                Ok::<(), Error>(())
            })?;
            Value::Object(members)
        }
    };
    Ok(Node {
        span: start..reader.position(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_spans_and_keeps_duplicates() {
        let text = br#" {"a": [1, "x\u0041"], "a": null} "#;
        let node = parse(text).unwrap();
        assert_eq!(node.span, 1..33);
        let Value::Object(members) = node.value else {
            panic!("an object");
        };
        assert_eq!(members.len(), 2);
        assert_eq!(members[0].key_span, 2..5);
        assert_eq!(members[0].value.span, 7..21);
        let Value::Array(items) = &members[0].value.value else {
            panic!("an array");
        };
        assert!(matches!(&items[0].value, Value::Number(n) if n == "1"));
        assert!(matches!(&items[1].value, Value::String(s) if s == "xA"));
    }

    #[test]
    fn refuses_what_is_not_json() {
        for bad in ["", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "nul", "1 2"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in [
            "[1}",
            "[1 2]",
            "{\"a\":1]",
            "{\"a\":1 2}",
            "{\"a\":1 \"b\":2}",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_hold_every_character_but_control_characters() {
        for length in 0..20 {
            let before = "a".repeat(length);
            for after in ["", " ", "}", "\u{7f}", "\u{e9}"] {
                let text = format!("\"{before} {after}\"");
                assert!(parse(text.as_bytes()).is_ok(), "{text}");
                let text = format!("\"{before}\u{1f}{after}\"");
                assert!(parse(text.as_bytes()).is_err(), "{text}");
            }
        }
    }
}

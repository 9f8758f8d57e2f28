//! The id of a message that is otherwise unreadable.
//!
//! A client that gets an error without its id waits until it times out, and
//! some end the whole session on an HTTP error. So a refusal carries the id
//! whenever there is exactly one that it can be.

use super::key;
use super::message::Id;
use crate::json::{Error, Profile, Reader};

/// The id of a client's request that cannot be read whole.
///
/// `None` for responses: their id is the server's, and an error with it would
/// be taken for the answer to a request of the client's own.
pub(crate) fn request_id(body: &[u8]) -> Option<Id<'_>> {
    let outline = outline(body);
    outline.id.filter(|_| outline.has_method)
}

/// What a server's message is that cannot be read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread<'a> {
    /// A request or notification of the server's own.
    Call,
    /// The answer to the request with this id.
    Answer(Id<'a>),
    /// That cannot be told.
    Unknown,
}

/// What a server's message is that cannot be read whole.
pub(crate) fn server_message(text: &[u8]) -> Unread<'_> {
    match outline(text) {
        Outline {
            has_method: true, ..
        } => Unread::Call,
        Outline { id: Some(id), .. } => Unread::Answer(id),
        Outline { id: None, .. } => Unread::Unknown,
    }
}

#[derive(Default)]
struct Outline<'a> {
    /// The one `id` that stands directly in the outermost object. `None` if
    /// there is none, more than one, a second member that some reader takes for
    /// it, or if it is no valid id.
    id: Option<Id<'a>>,
    /// Whether a `method` stands beside it.
    has_method: bool,
}

fn outline(text: &[u8]) -> Outline<'_> {
    let mut tokens = Tokens { rest: text };
    let mut outline = Outline::default();
    if tokens.next() != Some(Token::Open(b'{')) {
        return outline;
    }
    let mut depth = 1_usize;
    let mut key: Option<&[u8]> = None;
    let mut last: Option<&[u8]> = None;
    let mut ids = 0_usize;
    for token in tokens {
        let at_top = depth == 1;
        let value = match token {
            Token::Open(_) => {
                // A second text, of which nobody knows who reads it.
                ids = ids.saturating_add(usize::from(depth == 0));
                depth = depth.saturating_add(1);
                Some(None)
            }
            Token::Close => {
                depth = depth.saturating_sub(1);
                None
            }
            Token::Colon if at_top => {
                key = last.take();
                outline.has_method |= key == Some(b"\"method\"");
                None
            }
            Token::Other(raw) => {
                last = Some(raw);
                Some(Some(raw))
            }
            Token::Colon => None,
        };
        let (true, Some(value)) = (at_top, value) else {
            continue;
        };
        if let Some(name) = key.take().filter(|name| is_id(name)) {
            ids = ids.saturating_add(1);
            outline.id = value.filter(|_| name == b"\"id\"").and_then(read_id);
        }
    }
    outline.id = outline.id.filter(|_| ids == 1);
    outline
}

/// The id in this token, if it can be echoed as it is.
fn read_id(raw: &[u8]) -> Option<Id<'_>> {
    let whole = |raw| {
        let mut reader = Reader::new(raw, Profile::MESSAGE)?;
        reader.skip()?;
        reader.finish()?;
        Ok::<(), Error>(())
    };
    whole(raw).ok()?;
    Id::from_raw(raw)
}

/// Whether some reader takes this quoted member name for `id`.
fn is_id(quoted: &[u8]) -> bool {
    let name = match quoted {
        [b'"', name @ .., b'"'] => name,
        name => name,
    };
    match std::str::from_utf8(name) {
        // An escape sequence could spell anything.
        Ok(name) => name.contains('\\') || key::folds_onto(name, &["id"]),
        Err(_) => true,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Open(u8),
    Close,
    Colon,
    /// A string with its quotes, a word, or a comma: behind a colon even that
    /// stands in the place of a value.
    Other(&'a [u8]),
}

/// Splits bytes the way every JSON reader does, whatever they hold.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = self.rest.trim_ascii_start();
        let first = *self.rest.first()?;
        let length = match first {
            b'"' => string_length(self.rest),
            b'{' | b'}' | b'[' | b']' | b':' | b',' => 1,
            _ => self
                .rest
                .iter()
                .position(|byte| b"{}[]:,\" \t\r\n".contains(byte))
                .unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(match first {
            b'{' | b'[' => Token::Open(first),
            b'}' | b']' => Token::Close,
            b':' => Token::Colon,
            _ => Token::Other(token),
        })
    }
}

/// Bytes of the string that begins here, its quotes included; all that is left
/// if it does not end.
fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovered(body: &str) -> Option<&str> {
        request_id(body.as_bytes()).map(|id| std::str::from_utf8(id.raw()).unwrap())
    }

    #[test]
    fn finds_the_only_id() {
        for (body, id) in [
            (r#"{"id":7,"method":"m","params":{"x":NaN}}"#, "7"),
            (
                r#"{"method":"m","params":{"id":1,"a":[{"id":2}]},"id":"a\"b","#,
                r#""a\"b""#,
            ),
            (r#"{"method":"m","id": -3 "#, "-3"),
            (r#"{"id":1,"method":"m","result":{}}"#, "1"),
            (r#"{"id":1,"method":"m"} trailing"#, "1"),
        ] {
            assert_eq!(recovered(body), Some(id), "{body}");
        }
    }

    #[test]
    fn answers_are_told_from_requests() {
        let answer = br#"{"id":1,"result":{"x":NaN}}"#;
        assert_eq!(request_id(answer), None);
        let id = Id::from_raw(b"1").unwrap();
        assert_eq!(server_message(answer), Unread::Answer(id));
        for call in [r#"{"id":1,"method":"m"}"#, r#"{"method":"m","params":NaN}"#] {
            assert_eq!(server_message(call.as_bytes()), Unread::Call);
        }
        assert_eq!(server_message(b"{broken"), Unread::Unknown);
    }

    #[test]
    fn trusts_no_other() {
        for body in [
            "",
            "7",
            r#"{"method":"m"}"#,
            r#"{"id":1,"id":2,"method":"m"}"#,
            r#"{"id":1,"id":1,"method":"m"}"#,
            r#"{"id":1,"ID":2,"method":"m"}"#,
            r#"{"id":1,"\u0069d":2,"method":"m"}"#,
            r#"{"id":null,"method":"m"}"#,
            r#"{"id":"\x","method":"m"}"#,
            "{\"id\":\"\n\",\"method\":\"m\"}",
            r#"{"method":"m","id":"abc"#,
            r#"{"id":1.5,"method":"m"}"#,
            r#"{"id":{"id":1},"method":"m"}"#,
            r#"{"id":,1,"method":"m"}"#,
            r#"{"id",:1,"method":"m"}"#,
            r#"{"id":1,"id":{},"method":"m"}"#,
            r#"[{"id":1,"method":"m"}]"#,
            r#"{"id":1,"method":"m"}{"id":2,"method":"m"}"#,
            r#"{"id":1,"method":"m"}[{"id":2,"method":"m"}]"#,
            r#"{"id":1,"result":{},"error":{}}"#,
        ] {
            assert_eq!(recovered(body), None, "{body}");
        }
    }
}

//! One JSON-RPC message: what it is, what it names, and where its parts stand.

use std::borrow::Cow;
use std::sync::Arc;

use super::fault::Fault;
use super::key;
use super::method::{self, Method, Subject};
use super::params::{Elicitation, Name, Param, Params};
use super::trace_context::trace_parent;
use super::version::Era;
use crate::json::{self, Kind, Profile, Reader, Utf8};

/// Bytes that a request id may have, quotes included.
const LONGEST_ID: usize = 1024;
/// Bytes that a method name may have.
const LONGEST_METHOD: usize = 256;
/// Messages that a batch may have.
const MOST_IN_BATCH: usize = 100;
/// The largest integer that every JSON reader keeps exactly: 2^53 - 1.
const LARGEST_ID: u64 = (1 << 53) - 1;

/// A message that every reader understands in the same way.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// It has an id and waits for an answer.
    Request(Id<'a>, Call<'a>),
    /// It has no id and gets no answer.
    Notification(Call<'a>),
    /// The answer to a request of the server.
    Response,
}

/// The part that requests and notifications have in common.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) method: Cow<'a, str>,
    /// What is known of the method; it is looked up once.
    pub(crate) known: Option<&'static Method>,
    pub(crate) params: Option<Params<'a>>,
}

/// A request id as it was written, to be echoed byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id<'a> {
    raw: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads one message strictly, in one pass.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader::of(Utf8::new(body)?, Profile::MESSAGE);
        if !reader.is_object() && reader.kind()? == Kind::Array {
            return Err(Fault::Batch);
        }
        let (mut envelope, mut call) = (Envelope::default(), Call::default());
        envelope.read(&mut reader, &mut call)?;
        reader.finish()?;
        envelope.told_of(call)
    }

    /// Reads an array of messages, which clients of 2025-03-26 may send.
    pub(crate) fn parse_batch(body: &'a [u8]) -> Result<Vec<Self>, Fault> {
        let mut reader = Reader::new(body, Profile::MESSAGE)?;
        let mut messages = Vec::new();
        let mut fault = None;
        reader.array(|reader| {
            let (mut envelope, mut call) = (Envelope::default(), Call::default());
            envelope.read(reader, &mut call)?;
            match envelope.told_of(call) {
                Ok(message) if messages.len() < MOST_IN_BATCH => messages.push(message),
                Ok(_) => fault = fault.or(Some(Fault::TooManyInBatch)),
                Err(other) => fault = fault.or(Some(other)),
            }
            Ok::<(), json::Error>(())
        })?;
        reader.finish()?;
        fault.map_or(Ok(messages), Err)
    }

    /// Whether a body is an array, and so could be a batch.
    pub(crate) fn is_batch(body: &[u8]) -> bool {
        body.trim_ascii_start().starts_with(b"[")
    }
}

impl Message<'_> {
    /// The era that the message itself speaks of.
    pub(crate) fn era(&self) -> Era {
        match self {
            Self::Request(_, call) | Self::Notification(call) => call.era(),
            Self::Response => Era::Legacy,
        }
    }
}

impl Call<'_> {
    /// Whether it asks for a task to be made of it (2025-11-25).
    pub(crate) fn wants_task(&self) -> bool {
        let params = self.params.as_ref();
        params.is_some_and(|params| params.span(Param::Task).is_some())
    }

    /// The tool that it calls.
    pub(crate) fn tool(&self) -> Option<&str> {
        let is_tool_call = self.known?.subject == Subject::Tool;
        match self.params.as_ref()?.named(Param::Name)? {
            Name::Text(name) if is_tool_call => Some(name),
            _ => None,
        }
    }

    /// Since 2026-07-28 `_meta` holds a protocol version.
    pub(crate) fn era(&self) -> Era {
        match &self.params {
            Some(params) if params.meta.protocol_version.is_some() => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// What the client says of itself at the beginning of a session (before
    /// 2026-07-28).
    pub(crate) fn introduction(&self) -> Option<Arc<str>> {
        let text = self.params.as_ref()?.client_info?;
        let text = std::str::from_utf8(text).ok();
        Some(text.filter(|_| self.method == "initialize")?.into())
    }

    /// The trace that it says that it belongs to.
    pub(crate) fn trace_parent(&self) -> Option<&str> {
        match self.params.as_ref()?.meta.trace_parent.as_ref()? {
            Name::Text(text) => trace_parent(text),
            Name::Unreadable => None,
        }
    }

    /// How the client says that it can ask its user: with each request, or at the
    /// beginning of a session (before 2026-07-28).
    pub(crate) fn elicitation(&self) -> Elicitation {
        let Some(params) = &self.params else {
            return Elicitation::default();
        };
        match &*self.method {
            "initialize" => params.capabilities.elicitation,
            _ => params.meta.capabilities.elicitation,
        }
    }

    /// Whether the client says that it can follow tasks (2026-07-28).
    pub(crate) fn declares_tasks(&self) -> bool {
        let params = self.params.as_ref();
        params.is_some_and(|params| params.meta.capabilities.tasks)
    }
}

impl<'a> Id<'a> {
    /// Reads an id from its token; `None` unless it is one.
    pub(crate) fn from_raw(raw: &'a [u8]) -> Option<Self> {
        if raw.len() > LONGEST_ID {
            return None;
        }
        // Most are short numbers, which are exact without more ado.
        if let [b'1'..=b'9', digits @ ..] = raw {
            if digits.len() < 15 && digits.iter().all(u8::is_ascii_digit) {
                return Some(Self { raw });
            }
        }
        let digits = match raw {
            [b'"', .., b'"'] => return Some(Self { raw }),
            [b'-', digits @ ..] => digits,
            digits => digits,
        };
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        // `-0` is read as a float by some.
        let negative_zero = number == 0 && raw.starts_with(b"-");
        // `parse` takes a plus sign and leading zeros, which JSON does not.
        let canonical = digits.first().is_some_and(u8::is_ascii_digit)
            && (digits.len() == 1 || !digits.starts_with(b"0"));
        (number <= LARGEST_ID && !negative_zero && canonical).then_some(Self { raw })
    }

    /// Whether an answer with this id is the answer to the request with this
    /// one. Clients take the string `"1"` for the number 1.
    pub(crate) fn is_echoed_by(self, raw: &[u8]) -> bool {
        self.raw == raw || self.said() == said(raw)
    }

    /// What the id says, however it is written.
    pub(crate) fn said(self) -> Cow<'a, [u8]> {
        said(self.raw)
    }

    /// The id as it was written.
    pub(crate) const fn raw(self) -> &'a [u8] {
        self.raw
    }
}

/// What an id says that is written like this, if it is one.
pub(crate) fn said(raw: &[u8]) -> Cow<'_, [u8]> {
    match raw {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Cow::Borrowed(text),
        [b'"', ..] => match serde_json::from_slice::<String>(raw) {
            Ok(text) => Cow::Owned(text.into_bytes()),
            Err(_) => Cow::Borrowed(raw),
        },
        other => Cow::Borrowed(other),
    }
}

/// The members of a message as they are met, besides what they have of a call.
#[derive(Debug, Default)]
struct Envelope<'a> {
    /// What is wrong with what it says. That waits until the whole text is known to be
    /// JSON, so that a syntax error is always reported as one.
    fault: Option<Fault>,
    version: bool,
    id: Option<Id<'a>>,
    has_method: bool,
    result: bool,
    error: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the value that comes next.
    fn read(&mut self, reader: &mut Reader<'a>, call: &mut Call<'a>) -> Result<(), json::Error> {
        if !reader.is_object() {
            reader.skip()?;
            self.fault = Some(Fault::NotAnObject);
            return Ok(());
        }
        reader.members(|reader, key| match self.member(reader, key, call) {
            Ok(()) => Ok(()),
            Err(Fault::Json(error)) => Err(error),
            Err(other) => {
                self.fault.get_or_insert(other);
                Ok(())
            }
        })
    }

    /// Reads the value of one member. The value is always read to its end,
    /// whether it is right or wrong.
    #[inline(always)]
    fn member(
        &mut self,
        reader: &mut Reader<'a>,
        key: &str,
        call: &mut Call<'a>,
    ) -> Result<(), Fault> {
        match key {
            "jsonrpc" => {
                self.version = says_two(reader)?;
                if !self.version {
                    return Err(Fault::Version);
                }
            }
            "id" => {
                let span = reader.skip()?;
                self.id = Some(Id::from_raw(reader.raw(&span)).ok_or(Fault::Id)?);
            }
            "method" => {
                call.method = method(reader)?;
                self.has_method = true;
            }
            "params" => {
                if !reader.is_object() {
                    reader.skip()?;
                    return Err(Fault::ParamsNotAnObject);
                }
                let params = call.params.get_or_insert_with(Params::default);
                params.read(reader)?;
            }
            "result" => {
                reader.skip()?;
                self.result = true;
            }
            "error" => {
                reader.skip()?;
                self.error = true;
            }
            _ => return Err(other_member(reader, key)),
        }
        Ok(())
    }

    /// Requests, notifications and responses have exactly the members that
    /// JSON-RPC gives them; a mixture is refused, because servers differ in
    /// what they take it for.
    #[inline(always)]
    fn told_of(self, mut call: Call<'a>) -> Result<Message<'a>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.version {
            return Err(Fault::Version);
        }
        let answered = self.result || self.error;
        match (self.has_method, self.id) {
            (true, id) if !answered => {
                call.known = method::lookup(&call.method);
                Ok(match id {
                    Some(id) => Message::Request(id, call),
                    None => Message::Notification(call),
                })
            }
            (false, Some(_)) if self.result != self.error && call.params.is_none() => {
                Ok(Message::Response)
            }
            _ => Err(Fault::Shape),
        }
    }
}

/// Reads the value of a member that no message has.
#[cold]
fn other_member(reader: &mut Reader<'_>, key: &str) -> Fault {
    match reader.skip() {
        Err(error) => error.into(),
        Ok(_) if key::is_look_alike(key) => Fault::LookAlikeMember,
        Ok(_) => Fault::UnknownMember,
    }
}

/// Whether the value that comes next is the version of JSON-RPC, in whatever
/// spelling.
fn says_two(reader: &mut Reader<'_>) -> Result<bool, Fault> {
    if let Some(text) = reader.short_string() {
        return Ok(text == "2.0");
    }
    if reader.kind()? != Kind::String {
        reader.skip()?;
        return Ok(false);
    }
    let text = reader.string()?;
    Ok(reader.decode(text) == "2.0")
}

fn method<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, Fault> {
    if let Some(text) = reader.short_string() {
        return Ok(Cow::Borrowed(text));
    }
    if reader.kind()? != Kind::String {
        reader.skip()?;
        return Err(Fault::Method);
    }
    let text = reader.string()?;
    if text.len() > LONGEST_METHOD {
        return Err(Fault::Method);
    }
    Ok(reader.decode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_string_or_an_integer_that_every_reader_keeps() {
        for id in [
            "\"\"",
            "\"a\"",
            "0",
            "-1",
            "10",
            "999999999999999",
            "1000000000000000",
            "9007199254740991",
        ] {
            assert!(Id::from_raw(id.as_bytes()).is_some(), "{id}");
        }
        for other in [
            "",
            "\"",
            "-",
            "-0",
            "+1",
            "01",
            "-01",
            "00",
            "-+1",
            "1.0",
            "1e3",
            "null",
            "1a",
            "1e",
            "99999999999999a",
            "9999999999999999",
            "9007199254740992",
            "-9007199254740992",
        ] {
            assert!(Id::from_raw(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn where_long_arguments_stand_is_remembered() {
        let text = format!(r#""{}\"{}""#, "x".repeat(40), "y".repeat(40));
        let list = format!("[ {} 1 ]", "[2, 3], ".repeat(20));
        let arguments = format!(r#"{{"a": {text} ,"b":"short", "c" :{list}}}"#);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"arguments":  {arguments},"name":"t"}}}}"#
        );
        let Ok(Message::Request(_, call)) = Message::parse(body.as_bytes()) else {
            panic!("{body}");
        };
        let params = call.params.unwrap();
        assert_eq!(
            params.span(Param::Arguments),
            Some(arguments.as_bytes()),
            "{body}"
        );
        let long = params.long_arguments().iter();
        let long: Vec<_> = long.map(|place| &arguments[place.clone()]).collect();
        assert_eq!(long, [&text, &list]);
    }
}

//! The request headers that mirror the body (2026-07-28, SEP-2243).
//!
//! What is decided rests on the body alone. These checks keep a server or a
//! router behind us from acting on something else than what was judged.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};

use super::message::{Call, Message};
use super::method::Subject;
use super::params::{Name, Param};
use super::version::Era;
use crate::json::Kind;

/// The methods whose `Mcp-Name` header is required, and what it mirrors.
const NAMED_BY_HEADER: [(&str, Param); 6] = [
    ("tools/call", Param::Name),
    ("prompts/get", Param::Name),
    ("resources/read", Param::Uri),
    ("tasks/get", Param::TaskId),
    ("tasks/update", Param::TaskId),
    ("tasks/cancel", Param::TaskId),
];

/// Why the headers and the body of a request do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// A modern request without the members of `_meta` that it must have.
    MissingMeta,
    /// The header stands there more than once, or is not readable text.
    Unreadable(&'static str),
    /// The header is required and missing.
    Missing(&'static str),
    /// The header says something else than the body.
    Mismatch(&'static str),
    /// A client of the modern era sends no responses.
    Response,
}

/// What the headers of a request say of its message, looked up once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mirror<'h> {
    era: Era,
    version: Said<'h>,
    method: Said<'h>,
    name: Said<'h>,
    session: Said<'h>,
}

/// What a header says that may stand there once.
#[derive(Clone, Copy, Debug)]
enum Said<'h> {
    Nothing,
    Text(&'h str),
    /// It stands there more than once, or is not readable text.
    Unreadable,
}

impl<'h> Said<'h> {
    fn add(&mut self, value: &'h HeaderValue) {
        *self = match (*self, value.to_str()) {
            (Self::Nothing, Ok(text)) => Self::Text(text),
            _ => Self::Unreadable,
        };
    }

    /// The value without the white space around it.
    fn single(self, name: &'static str) -> Result<Option<&'h str>, HeaderFault> {
        match self {
            Self::Nothing => Ok(None),
            Self::Text(text) => Ok(Some(text.trim_matches([' ', '\t']))),
            Self::Unreadable => Err(HeaderFault::Unreadable(name)),
        }
    }
}

/// Nobody knows which of several sessions a server would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnclearSession;

impl<'h> Mirror<'h> {
    pub(crate) fn of(headers: &'h HeaderMap) -> Self {
        let mut mirror = Self {
            era: Era::Legacy,
            version: Said::Nothing,
            method: Said::Nothing,
            name: Said::Nothing,
            session: Said::Nothing,
        };
        for (name, value) in headers {
            match name.as_str().strip_prefix("mcp-") {
                Some("protocol-version") => {
                    mirror.version.add(value);
                    if is_modern(value) {
                        mirror.era = Era::Modern;
                    }
                }
                Some("method") => mirror.method.add(value),
                Some("name") => mirror.name.add(value),
                Some("session-id") => mirror.session.add(value),
                _ => {}
            }
        }
        mirror
    }

    /// The era that the headers alone speak of, for bodies that cannot be read.
    pub(crate) fn era(&self) -> Era {
        self.era
    }

    /// The version that the headers speak of, if they speak of one.
    pub(crate) fn version(&self) -> Option<&'h str> {
        self.version.single(VERSION).ok()?
    }

    /// The session that the request names, as it is written.
    pub(crate) fn session(&self) -> Result<Option<&'h str>, UnclearSession> {
        match self.session {
            Said::Nothing => Ok(None),
            Said::Text(session) => Ok(Some(session)),
            Said::Unreadable => Err(UnclearSession),
        }
    }

    /// The era of a message, from its headers and its `_meta`.
    pub(crate) fn era_of(&self, message: &Message<'_>) -> Era {
        match message.era() {
            Era::Modern => Era::Modern,
            Era::Legacy => self.era,
        }
    }
}

fn is_modern(version: &HeaderValue) -> bool {
    let version = version.to_str().ok();
    version.is_some_and(|version| Era::of_version(version.trim()) == Era::Modern)
}

const VERSION: &str = "MCP-Protocol-Version";

/// Checks that the headers fit the message, in the order in which servers have to.
pub(crate) fn check(mirror: &Mirror<'_>, message: &Message<'_>) -> Result<(), HeaderFault> {
    let era = mirror.era_of(message);
    if let Message::Request(_, call) = message {
        if era == Era::Modern && !has_required_meta(call) {
            return Err(HeaderFault::MissingMeta);
        }
    }
    let version = mirror.version.single(VERSION)?;
    let method = mirror.method.single("Mcp-Method")?;
    let name = mirror.name.single("Mcp-Name")?;
    let (call, is_request) = match message {
        Message::Request(_, call) => (call, true),
        Message::Notification(call) => (call, false),
        Message::Response if era == Era::Modern => return Err(HeaderFault::Response),
        Message::Response if method.is_some() => return Err(HeaderFault::Mismatch("Mcp-Method")),
        Message::Response if name.is_some() => return Err(HeaderFault::Mismatch("Mcp-Name")),
        Message::Response => return Ok(()),
    };
    let required = is_request && era == Era::Modern;
    check_version(version, call)?;
    match method {
        Some(method) if method != call.method => return Err(HeaderFault::Mismatch("Mcp-Method")),
        None if required => return Err(HeaderFault::Missing("Mcp-Method")),
        _ => {}
    }
    check_name(name, call, required)
}

/// `_meta` must hold a version and an object of capabilities.
fn has_required_meta(call: &Call<'_>) -> bool {
    call.params.as_ref().is_some_and(|params| {
        matches!(params.meta.protocol_version, Some(Name::Text(_)))
            && params.meta.client_capabilities == Some(Kind::Object)
    })
}

fn version_in_meta<'c>(call: &'c Call<'_>) -> Option<&'c Name<'c>> {
    call.params.as_ref()?.meta.protocol_version.as_ref()
}

fn check_version(header: Option<&str>, call: &Call<'_>) -> Result<(), HeaderFault> {
    match (header, version_in_meta(call)) {
        (Some(header), Some(Name::Text(version))) if header == version => Ok(()),
        (None, Some(_)) => Err(HeaderFault::Missing(VERSION)),
        (Some(_), Some(_)) => Err(HeaderFault::Mismatch(VERSION)),
        // A legacy request, or a modern notification without `_meta`.
        (_, None) => Ok(()),
    }
}

fn check_name(header: Option<&str>, call: &Call<'_>, required: bool) -> Result<(), HeaderFault> {
    const HEADER: &str = "Mcp-Name";
    let text = |param| match call.params.as_ref()?.named(param)? {
        Name::Text(name) => Some(&**name),
        Name::Unreadable => None,
    };
    let row = NAMED_BY_HEADER.iter().find(|row| row.0 == call.method);
    let Some(header) = header else {
        // Without a name in the body there is nothing to mirror; the body
        // itself is refused for that, with a better reason.
        return match row.and_then(|row| text(row.1)) {
            Some(_) if required => Err(HeaderFault::Missing(HEADER)),
            _ => Ok(()),
        };
    };
    let header = decode(header).ok_or(HeaderFault::Unreadable(HEADER))?;
    let says = |param| text(param) == Some(&*header);
    let mirrors = match row {
        Some(row) => says(row.1),
        None => match call.known.map(|method| method.subject) {
            Some(Subject::Resource) => says(Param::Uri),
            Some(Subject::Task) => says(Param::TaskId),
            Some(_) => false,
            // An extension may mirror any of the three.
            None => [Param::Name, Param::Uri, Param::TaskId]
                .into_iter()
                .any(says),
        },
    };
    if mirrors {
        Ok(())
    } else {
        Err(HeaderFault::Mismatch(HEADER))
    }
}

/// Resolves the sentinel `=?base64?…?=`; `None` if what it holds is not padded
/// standard Base64 of UTF-8.
fn decode(value: &str) -> Option<std::borrow::Cow<'_, str>> {
    let sentinel = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    match sentinel {
        None => Some(value.into()),
        Some(encoded) => {
            let decoded = STANDARD.decode(encoded).ok()?;
            Some(String::from_utf8(decoded).ok()?.into())
        }
    }
}

impl HeaderFault {
    /// The JSON-RPC error code for it.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::MissingMeta => -32602,
            Self::Response => -32600,
            Self::Unreadable(_) | Self::Missing(_) | Self::Mismatch(_) => -32020,
        }
    }
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingMeta => f.write_str(
                "The request needs params._meta with io.modelcontextprotocol/protocolVersion \
                 and io.modelcontextprotocol/clientCapabilities.",
            ),
            Self::Unreadable(header) => write!(
                f,
                "The header {header} must stand once and be plain text or padded Base64 \
                 between =?base64? and ?=."
            ),
            Self::Missing(header) => {
                write!(
                    f,
                    "The header {header} is missing. It must repeat the body."
                )
            }
            Self::Mismatch(header) => {
                write!(f, "The header {header} does not say what the body says.")
            }
            Self::Response => f.write_str("Clients send no responses in this protocol version."),
        }
    }
}

impl std::error::Error for HeaderFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &[u8])]) -> HeaderMap {
        let value = |value: &[u8]| HeaderValue::from_bytes(value).unwrap();
        let all = all.iter();
        all.map(|(name, text)| (name.parse().unwrap(), value(text)))
            .collect()
    }

    #[test]
    fn a_session_is_one_that_stands_there_once() {
        let session = |all: &[(&'static str, &[u8])]| {
            let headers = headers(all);
            let session = Mirror::of(&headers).session();
            session.map(|session| session.map(str::to_owned))
        };
        const SESSION: &str = "mcp-session-id";
        assert_eq!(session(&[("mcp-session", b"s")]), Ok(None));
        assert_eq!(session(&[(SESSION, b"s ")]), Ok(Some("s ".to_owned())));
        for unclear in [
            &[(SESSION, &b"s"[..]), (SESSION, b"s")][..],
            &[(SESSION, b"s"), (SESSION, b"\xff")],
            &[(SESSION, b"\xff"), (SESSION, b"s")],
            &[(SESSION, b"s"), (SESSION, b"t"), (SESSION, b"s")],
            &[(SESSION, b"\xff")],
        ] {
            assert_eq!(session(unclear), Err(UnclearSession), "{unclear:?}");
        }
    }

    #[test]
    fn one_version_of_the_modern_era_is_enough() {
        const VERSION: &str = "mcp-protocol-version";
        let modern = b" 2026-07-28";
        for (all, era, version) in [
            (&[][..], Era::Legacy, None),
            (
                &[(VERSION, &b"2025-06-18\t"[..])],
                Era::Legacy,
                Some("2025-06-18"),
            ),
            (&[(VERSION, modern)], Era::Modern, Some("2026-07-28")),
            (
                &[(VERSION, b"2025-06-18"), (VERSION, modern)],
                Era::Modern,
                None,
            ),
            (&[(VERSION, modern), (VERSION, b"\xff")], Era::Modern, None),
            (&[(VERSION, b"\xff")], Era::Legacy, None),
        ] {
            let headers = headers(all);
            let mirror = Mirror::of(&headers);
            assert_eq!((mirror.era(), mirror.version()), (era, version), "{all:?}");
        }
    }
}

//! The further rounds of a call (2026-07-28): what a client brings back with one, and
//! what a server asks for the next.

use std::borrow::Cow;

use memchr::memmem;

use super::params::{Param, Params};
use crate::json::{self, Kind, Profile, Reader};

/// The member of `inputRequests` and `inputResponses` that is ours.
pub(crate) const INPUT: &str = "io.github.mcp-policy/approval";
/// What the client says if it lets the call go on.
pub(crate) const ALLOW_ONCE: &str = "allow_once";
/// What it says if it does not.
pub(crate) const DENY: &str = "deny";

/// The methods whose calls can take several rounds.
pub(crate) fn takes_rounds(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// What a client says when it was asked for an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing that could be understood.
    #[default]
    Nothing,
    /// It was done as it was asked.
    Accepted {
        /// Whether exactly that was chosen which lets the call go on.
        allows: bool,
    },
    /// It is not to go on.
    Refused,
}

impl Said {
    /// What it says in the parameters of a call.
    pub(crate) fn in_call(params: &Params<'_>) -> Self {
        let responses = params.span(Param::InputResponses).unwrap_or_default();
        let mut said = Self::Nothing;
        // They were read before, so that this cannot fail.
        let _ = each_member(responses, |name, value| {
            if name == INPUT {
                said = Self::read(value);
            }
        });
        said
    }

    fn read(response: &[u8]) -> Self {
        let text = |object, name| member(object, name).and_then(text_of);
        let content = member(response, "content");
        let decision = content.and_then(|content| text(content, "decision"));
        match (text(response, "action").as_deref(), decision.as_deref()) {
            (Some("accept"), Some(DENY)) | (Some("decline" | "cancel"), _) => Self::Refused,
            (Some("accept"), decision) => Self::Accepted {
                allows: decision == Some(ALLOW_ONCE),
            },
            _ => Self::Nothing,
        }
    }
}

/// The state that a call brings back, if it is a text.
pub(crate) fn state_in_call<'a>(params: &Params<'a>) -> Option<Cow<'a, str>> {
    text_of(params.span(Param::RequestState)?)
}

/// What a value says, if it is a string.
fn text_of(value: &[u8]) -> Option<Cow<'_, str>> {
    let mut reader = Reader::new(value, Profile::ANSWER).ok()?;
    if reader.kind().ok()? != Kind::String {
        return None;
    }
    let text = reader.string().ok()?;
    Some(reader.decode(text))
}

/// Whether a call brings back something that was asked by us.
pub(crate) fn brings_ours(params: &Params<'_>) -> bool {
    let responses = params.span(Param::InputResponses).unwrap_or_default();
    let mut found = false;
    let _ = each_member(responses, |name, _| found |= name == INPUT);
    found
}

/// The id in a client's response, if it is a text, and what it says if it answers a
/// question of ours.
pub(crate) fn answered(response: &[u8]) -> Option<(Cow<'_, str>, Said)> {
    let id = member(response, "id").and_then(text_of)?;
    // An error says no more than that nobody was asked.
    let said = member(response, "result").map_or(Said::Nothing, Said::read);
    Some((id, said))
}

/// A call as the server is to see it: without what we asked for, and with this in the
/// place of its state if `state` says so. Everything else stays as it is written.
pub(crate) fn as_forwarded(
    call: &[u8],
    state: Option<Inner<'_>>,
    ours: Ours,
) -> Result<Vec<u8>, json::Error> {
    let profile = Profile::MESSAGE;
    rebuilt(call, profile, |name, value| match name {
        "params" => Ok(Change::Put(rebuilt(value, profile, |name, value| {
            Ok(match (name, state) {
                ("requestState", Some(Inner::Nothing)) => Change::LeaveOut,
                ("requestState", Some(Inner::Text(text))) => Change::Put(text.as_bytes().to_vec()),
                ("inputResponses", _) if ours == Ours::TakenOut => without_ours(value)?,
                _ => Change::Keep,
            })
        })?)),
        _ => Ok(Change::Keep),
    })
}

/// What becomes of the answer to our question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    TakenOut,
    /// It is the answer to somebody else's, behind us.
    Left,
}

/// What of a state is the server's own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inner<'a> {
    Nothing,
    /// As JSON.
    Text(&'a str),
}

fn without_ours(responses: &[u8]) -> Result<Change, json::Error> {
    if !responses.starts_with(b"{") {
        return Ok(Change::Keep);
    }
    let mut found = false;
    let rest = rebuilt(responses, Profile::MESSAGE, |name, _| {
        found |= name == INPUT;
        Ok(match name {
            INPUT => Change::LeaveOut,
            _ => Change::Keep,
        })
    })?;
    Ok(match found {
        false => Change::Keep,
        true if rest == b"{}" => Change::LeaveOut,
        true => Change::Put(rest),
    })
}

/// Whether an answer may ask for another round: most do not. One that says it in another
/// spelling is passed on as it is, and the next round is another call.
pub(crate) fn asks_more(answer: &[u8]) -> bool {
    memmem::find(answer, b"input_required").is_some()
}

/// What an answer asks for the next round.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AskedByServer<'a> {
    /// The id of the call, as it is written.
    pub(crate) id: &'a [u8],
    /// The state that the client is to bring back, as it is written.
    pub(crate) state: Option<&'a [u8]>,
}

impl<'a> AskedByServer<'a> {
    /// `None` if it asks for nothing, or cannot be read.
    pub(crate) fn by(answer: &'a [u8]) -> Option<Self> {
        let result = member(answer, "result")?;
        let kind = member(result, "resultType")?;
        let id = member(answer, "id")?;
        (kind == b"\"input_required\"").then(|| Self {
            id,
            state: member(result, "requestState"),
        })
    }

    /// The state, if it is a text.
    pub(crate) fn state_text(&self) -> Option<Cow<'a, str>> {
        text_of(self.state?)
    }
}

/// An answer with another state.
pub(crate) fn with_state(answer: &[u8], state: &str) -> Result<Vec<u8>, json::Error> {
    // Letters, digits and a few signs, so that it needs no escapes.
    let state = format!("\"{state}\"").into_bytes();
    let profile = Profile::ANSWER;
    rebuilt(answer, profile, |name, value| {
        if name != "result" {
            return Ok(Change::Keep);
        }
        let mut found = false;
        let mut result = rebuilt(value, profile, |name, _| {
            Ok(match name {
                "requestState" => {
                    found = true;
                    Change::Put(state.clone())
                }
                _ => Change::Keep,
            })
        })?;
        if !found {
            result.pop();
            if !result.ends_with(b"{") {
                result.push(b',');
            }
            result.extend_from_slice(b"\"requestState\":");
            result.extend_from_slice(&state);
            result.push(b'}');
        }
        Ok(Change::Put(result))
    })
}

/// What becomes of a member of an object.
enum Change {
    Keep,
    LeaveOut,
    /// Another value.
    Put(Vec<u8>),
}

/// The object with its members changed.
fn rebuilt(
    object: &[u8],
    profile: Profile,
    mut change: impl FnMut(&str, &[u8]) -> Result<Change, json::Error>,
) -> Result<Vec<u8>, json::Error> {
    let mut reader = Reader::new(object, profile)?;
    let mut out = Vec::with_capacity(object.len());
    out.push(b'{');
    reader.object(|reader, name| {
        let written = name.quoted();
        let span = reader.skip()?;
        let value = reader.raw(&span);
        let changed;
        let value = match change(&reader.decode(name), value)? {
            Change::LeaveOut => return Ok(()),
            Change::Keep => value,
            Change::Put(other) => {
                changed = other;
                &*changed
            }
        };
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(reader.raw(&written));
        out.push(b':');
        out.extend_from_slice(value);
        Ok::<(), json::Error>(())
    })?;
    reader.finish()?;
    out.push(b'}');
    Ok(out)
}

/// Reads the members of an object, if it is one, that was read before.
fn each_member<'a>(
    object: &'a [u8],
    mut seen: impl FnMut(&str, &'a [u8]),
) -> Result<(), json::Error> {
    if !object.starts_with(b"{") {
        return Ok(());
    }
    let mut reader = Reader::new(object, Profile::ANSWER)?;
    reader.object(|reader, name| {
        let span = reader.skip()?;
        seen(&reader.decode(name), reader.raw(&span));
        Ok(())
    })
}

/// The value of a member, as it is written.
fn member<'a>(object: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut found = None;
    each_member(object.trim_ascii_start(), |name, value| {
        if name == wanted {
            found = Some(value);
        }
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests;

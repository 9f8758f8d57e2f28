//! What exactly is approved, as one number.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::json::canonical::{self, Member, Unreadable};
use crate::json::{Kind, Profile, Reader};

/// What no other digest begins with.
const PURPOSE: &[u8] = b"mcp-policy approval 1";

/// Tells a call from all that are not exactly the same: the SHA-256 of its method,
/// its parameters, its caller, its server, and of what in the policy asks for the
/// approval.
///
/// Parameters are compared by what they say, not by how they are written: the order
/// of members and white space make no difference, nor do `1e2`, `100` and `100.0`;
/// numbers are exact, whatever their size. What a client changes when it tries again
/// is not part of it: `inputResponses` and `requestState`, and in `_meta`
/// `progressToken`, `traceparent`, `tracestate`, `baggage` and whatever begins with
/// `io.modelcontextprotocol/`. An `_meta` that holds nothing else is the same as none.
///
/// As text it is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallDigest([u8; 32]);

/// What a digest is of.
#[derive(Clone, Copy)]
pub(super) struct Digested<'a> {
    pub(super) server: &'a str,
    pub(super) caller: &'a str,
    pub(super) method: &'a str,
    /// As they are written; `None` says the same as `{}`.
    pub(super) params: Option<&'a [u8]>,
    /// The digest of what asks.
    pub(super) asked_by: &'a [u8],
}

impl CallDigest {
    pub(super) fn of(call: Digested<'_>) -> Result<Self, Unreadable> {
        let params = match call.params {
            Some(params) => canonical_params(params, |_| false)?,
            None => b"{}".to_vec(),
        };
        let mut hash = Sha256::new();
        let fields: [&[u8]; 6] = [
            PURPOSE,
            call.server.as_bytes(),
            call.caller.as_bytes(),
            call.method.as_bytes(),
            call.asked_by,
            &params,
        ];
        for field in fields {
            // With its length before it, nothing of a field can be taken for a part
            // of the next.
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Ok(Self(hash.finalize().into()))
    }
}

impl CallDigest {
    /// The digest that consists of these bytes: for a store that has kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that it consists of.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CallDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallDigest({self})")
    }
}

/// What is approved of the parameters beside the arguments and this member, which names
/// what is called; `None` if that is nothing.
pub(super) fn others(params: &[u8], name: &str) -> Result<Option<Box<str>>, Unreadable> {
    let text = canonical_params(params, |member| member == name || member == "arguments")?;
    // It is part of what is UTF-8.
    let text = String::from_utf8_lossy(&text);
    Ok((text != "{}").then(|| text.into()))
}

/// The parameters without what may differ from one try to the next.
fn canonical_params(
    params: &[u8],
    is_left_out: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, Unreadable> {
    let mut reader = Reader::new(params, Profile::MESSAGE)?;
    let mut out = Vec::with_capacity(params.len());
    canonical::object(&mut reader, &mut out, |reader, name, out| match name {
        "inputResponses" | "requestState" => leave_out(reader),
        _ if is_left_out(name) => leave_out(reader),
        "_meta" if reader.kind()? == Kind::Object => {
            let start = out.len();
            canonical::object(reader, out, |reader, name, out| {
                if may_differ_in_meta(name) {
                    return leave_out(reader);
                }
                canonical::value(reader, out)?;
                Ok(Member::Kept)
            })?;
            let is_empty = out.get(start..) == Some(b"{}");
            Ok(if is_empty {
                Member::LeftOut
            } else {
                Member::Kept
            })
        }
        _ => {
            canonical::value(reader, out)?;
            Ok(Member::Kept)
        }
    })?;
    reader.finish()?;
    Ok(out)
}

fn leave_out(reader: &mut Reader<'_>) -> Result<Member, Unreadable> {
    reader.skip()?;
    Ok(Member::LeftOut)
}

fn may_differ_in_meta(name: &str) -> bool {
    let names = ["progressToken", "traceparent", "tracestate", "baggage"];
    names.contains(&name) || name.starts_with("io.modelcontextprotocol/")
}

#[cfg(test)]
mod tests;

//! The cases of a test: calls, who makes them, and what should come of them.

use std::path::Path;

use mcp_policy::{Action, Caller, Outcome};
use serde_json::value::RawValue;

use super::{
    call::{Call, caller_of},
    input,
};
use crate::{
    members::{self, Members},
    names::{count, shown},
};

/// The largest file of cases that is read.
const LARGEST: usize = 64 << 20;

/// Mistakes that are told at once.
const MOST_TOLD: usize = 20;

/// One case.
pub(super) struct Case<'a> {
    /// Its own name, or which one of the list it is.
    pub(super) name: String,
    pub(super) call: Call<'a>,
    caller: Caller,
    client: Option<&'a str>,
    pub(super) expected: Option<Outcome>,
    pub(super) rule: Option<String>,
}

/// The text of a file of cases.
pub(super) fn text(path: &Path) -> Result<String, String> {
    input::read(path, LARGEST)
}

/// Every case, or everything that is wrong with them.
pub(super) fn read<'a>(path: &Path, text: &'a str) -> Result<Vec<Case<'a>>, String> {
    let file = path.display();
    let list = members::parse(text).map_err(|error| format!("{file}: {error}"))?;
    if members::kind(list) != "a list" {
        let found = members::kind(list);
        return Err(format!("{file}: found {found}, expected a list of cases"));
    }
    let list: Vec<&RawValue> =
        serde_json::from_str(list.get()).map_err(|error| format!("{file}: {error}"))?;
    if list.is_empty() {
        return Err(format!(
            "{file}: there are no cases in it, so nothing would be tested"
        ));
    }
    let mut cases = Vec::new();
    let mut mistakes = Vec::new();
    for (index, raw) in list.into_iter().enumerate() {
        let number = index.saturating_add(1);
        match Case::read(raw, number) {
            Ok(case) => cases.push(case),
            Err(error) => mistakes.push((number, line_of(raw, text), error)),
        }
    }
    if mistakes.is_empty() {
        return Ok(cases);
    }
    let mut told: Vec<String> = mistakes
        .iter()
        .take(MOST_TOLD)
        .map(|(number, line, error)| format!("{file}:{line}: case {number}: {error}"))
        .collect();
    if let Some(more) = mistakes
        .len()
        .checked_sub(MOST_TOLD)
        .filter(|more| *more > 0)
    {
        told.push(format!("and {} more like these", count(more, "mistake")));
    }
    Err(told.join("\n"))
}

/// The line on which a part of the text begins.
fn line_of(raw: &RawValue, text: &str) -> usize {
    let offset = raw
        .get()
        .as_ptr()
        .addr()
        .saturating_sub(text.as_ptr().addr());
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        .saturating_add(1)
}

impl<'a> Case<'a> {
    fn read(raw: &'a RawValue, number: usize) -> Result<Self, String> {
        const KNOWN: [&str; 7] = [
            "name", "call", "caller", "claims", "client", "expect", "rule",
        ];
        let members = Members::read(raw, &KNOWN)?;
        let call = members.get("call").ok_or("the member `call` is missing")?;
        let call = Call::read(call).map_err(|error| format!("`call`: {error}"))?;
        let mut caller = match members.text("caller")? {
            Some(id) => caller_of(&id),
            None => Caller::anonymous(),
        };
        if let Some(claims) = members.object("claims")? {
            let claims = serde_json::from_str(claims);
            caller =
                caller.with_claims(claims.map_err(|_| "`claims`: this is not a readable object")?);
        }
        let client = members.object("client")?;
        if let Some(client) = client {
            let client = call.action()?.with_client(client);
            client.map_err(|error| format!("`client`: {error}"))?;
        }
        let expected = members.text("expect")?;
        let expected = expected.as_deref().map(outcome).transpose()?;
        let name = members.text("name")?;
        Ok(Self {
            name: name.map_or_else(|| format!("case {number}"), |name| shown(&name)),
            rule: members.text("rule")?,
            call,
            caller,
            client,
            expected,
        })
    }

    pub(super) fn action(&self) -> Result<Action<'_>, String> {
        let action = self.call.action()?.by(&self.caller);
        match self.client {
            Some(client) => action
                .with_client(client)
                .map_err(|error| error.to_string()),
            None => Ok(action),
        }
    }
}

fn outcome(word: &str) -> Result<Outcome, String> {
    match word {
        "allow" => Ok(Outcome::Allow),
        "deny" => Ok(Outcome::Deny),
        "hide" => Ok(Outcome::Hide),
        "ask" => Ok(Outcome::Ask),
        _ => Err(format!(
            "`expect`: found \"{}\", expected \"allow\", \"deny\", \"hide\" or \"ask\"",
            shown(word)
        )),
    }
}

//! What somebody approved before: the policy with its pins, and the definitions that
//! are kept beside it.

use std::path::{Path, PathBuf};

use mcp_policy::{ListedTools, OnDrift, Pins, Policy};
use serde_json::{Value, value::RawValue};

use super::super::{input, load};
use super::{
    changes::{self, Change},
    seen::{Definition, Kept, Seen},
};
use crate::{failure::Failure, members::Members, verdicts::Said};

/// The largest file with definitions: as many as are read from a server.
const LARGEST: usize = 64 << 20;

/// A policy that a server is behind.
pub(super) struct Approved {
    policy: Policy,
    kept: Kept,
}

/// How something stands to what was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is as it was then.
    Approved,
    /// It was not there then.
    New,
    /// It is another one now.
    Changed,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::New => "new",
            Self::Changed => "changed",
        }
    }
}

/// The file for the definitions beside that of a policy.
pub(super) fn beside(policy: &Path) -> PathBuf {
    policy.with_extension("pins.json")
}

impl Approved {
    /// Reads the policy, and the definitions beside it if they are there.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let policy = load(path)?;
        let kept = beside(path);
        let kept = if kept.exists() {
            let text = input::read(&kept, LARGEST).map_err(Failure::Input)?;
            serde_json::from_str(&text).map_err(|error| {
                Failure::input(format!(
                    "{} does not hold what `scan --pin` writes: {error}",
                    kept.display()
                ))
            })?
        } else {
            Kept::default()
        };
        Ok(Self { policy, kept })
    }

    fn pins(&self) -> Option<&Pins> {
        self.policy.document().pins.as_ref()
    }

    /// Whether what has drifted is hidden.
    fn hides(&self) -> bool {
        self.pins()
            .is_some_and(|pins| pins.on_drift == OnDrift::Hide)
    }

    fn pin(&self, tool: &str) -> Option<&String> {
        self.pins()?.tools.as_ref()?.get(tool)
    }

    /// The state of a tool; `None` if the policy pins no tools.
    pub(super) fn of_tool(&self, name: &str, seen: &Seen) -> Option<State> {
        self.pins()?.tools.as_ref()?;
        Some(state(self.pin(name), seen.tool(name)))
    }

    /// The state of the instructions; `None` if the policy pins nothing.
    pub(super) fn of_instructions(&self, seen: &Seen) -> Option<State> {
        let pin = self.pins()?.instructions.as_ref();
        Some(state(pin, seen.instructions()))
    }

    /// Tools that were approved and are not there any more.
    pub(super) fn removed(&self, seen: &Seen) -> Vec<String> {
        let pins = self.pins().and_then(|pins| pins.tools.as_ref());
        let names = pins.into_iter().flat_map(|tools| tools.keys());
        names.filter(|name| !seen.has_tool(name)).cloned().collect()
    }

    /// What has changed in a tool; `None` if it is not known any more what was approved.
    pub(super) fn changes_of_tool(&self, name: &str, now: &RawValue) -> Option<Vec<Change>> {
        changes(self.pin(name)?, self.kept.tools.get(name)?, now)
    }

    /// The same of the instructions.
    pub(super) fn changes_of_instructions(&self, now: &RawValue) -> Option<Vec<Change>> {
        let pin = self.pins()?.instructions.as_ref()?;
        changes(pin, self.kept.instructions.as_ref()?, now)
    }

    /// What the policy says of a call of this tool, of a server that lists these: outcome
    /// and rule.
    pub(super) fn verdict(
        &self,
        name: &str,
        state: Option<State>,
        listed: &ListedTools,
    ) -> (&'static str, String) {
        let said = Said::of(&self.policy, name, listed);
        let refuses = matches!(said.outcome(), "deny" | "hide");
        match state {
            // The policy itself does not know what the server says now.
            Some(State::Changed) if !refuses && self.hides() => ("hide", "(hidden)".to_owned()),
            Some(State::Changed) if !refuses => ("deny", "(drift)".to_owned()),
            _ => (said.outcome(), said.rule().to_owned()),
        }
    }

    /// The text of the policy with these pins, and every other byte as it is. What
    /// becomes of drift stays as the policy has it.
    pub(super) fn text_with(&self, mut pins: Pins) -> Result<String, String> {
        if let Some(own) = self.pins() {
            pins.on_drift = own.on_drift;
        }
        let text = with_pins(self.policy.source_text(), &pins);
        let text = text.ok_or("the policy cannot be read as an object of JSON")?;
        let policy: Policy = text
            .parse()
            .map_err(|_| "the policy would not load with these pins")?;
        let mut expected = self.policy.document().clone();
        expected.pins = Some(pins);
        if *policy.document() == expected {
            Ok(text)
        } else {
            Err("the policy would not be the same with these pins".to_owned())
        }
    }
}

fn state(pin: Option<&String>, seen: Option<&Definition>) -> State {
    match (pin, seen) {
        (None, _) => State::New,
        (Some(pin), Some(seen)) if *pin == seen.digest => State::Approved,
        (Some(_), _) => State::Changed,
    }
}

fn changes(pin: &str, then: &RawValue, now: &RawValue) -> Option<Vec<Change>> {
    let then = Definition::of(then).filter(|then| then.digest == pin)?;
    let read = |text: &RawValue| serde_json::from_str::<Value>(text.get()).ok();
    Some(changes::between(&read(&then.text)?, &read(now)?))
}

/// The text of a document with other pins.
fn with_pins(text: &str, pins: &Pins) -> Option<String> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let members = Members::any(raw)?;
    let pins = serde_json::to_string_pretty(pins).ok()?;
    let pins = pins.replace('\n', "\n  ");
    let place = |value: &RawValue| {
        // It is a part of the text, so the two addresses say where.
        let start = value.get().as_ptr().addr();
        let start = start.checked_sub(text.as_ptr().addr())?;
        Some((start, start.checked_add(value.get().len())?))
    };
    let (start, end, new) = match members.get("pins") {
        Some(old) => {
            let (start, end) = place(old)?;
            (start, end, pins)
        }
        None => {
            let (_, end) = place(members.last()?)?;
            (end, end, format!(",\n  \"pins\": {pins}"))
        }
    };
    Some(format!("{}{new}{}", text.get(..start)?, text.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(digest: &str) -> Pins {
        let mut pins = Pins::default();
        pins.tools = Some([("a".to_owned(), digest.to_owned())].into());
        pins
    }

    #[test]
    fn only_the_pins_of_a_document_are_written_anew() {
        let new = "{\n    \"tools\": {\n      \"a\": \"x\"\n    }\n  }";
        for (text, expected) in [
            (
                "{ \"pins\" : {\"tools\":{}} ,\t\"name\":\"é\\u0041\"}\n",
                format!("{{ \"pins\" : {new} ,\t\"name\":\"é\\u0041\"}}\n"),
            ),
            (
                "{\"version\" : \"1\"\r\n}",
                format!("{{\"version\" : \"1\",\n  \"pins\": {new}\r\n}}"),
            ),
        ] {
            assert_eq!(with_pins(text, &pins("x")), Some(expected), "{text}");
        }
        for text in ["", "[]", "{}", "{"] {
            assert_eq!(with_pins(text, &pins("x")), None, "{text}");
        }
    }

    #[test]
    fn what_becomes_of_drift_stays_as_it_is() {
        let digest = Pins::digest_of("1").unwrap();
        for on_drift in ["hide", "deny"] {
            let text = format!(
                "{{\"version\":\"1\",\"default\":\"deny\",\"pins\":{{\"on_drift\":\"{on_drift}\"}}}}"
            );
            let approved = Approved {
                policy: text.parse().unwrap(),
                kept: Kept::default(),
            };
            let text = approved.text_with(pins(&digest)).unwrap();
            let policy: Policy = text.parse().unwrap();
            let expected = approved.policy.document().pins.as_ref().unwrap().on_drift;
            let pins = policy.document().pins.as_ref().unwrap();
            assert_eq!(pins.on_drift, expected);
            assert!(pins.tools.is_some());
        }
    }

    #[test]
    fn the_definitions_are_beside_the_policy() {
        assert_eq!(
            beside(Path::new("a/b.json")),
            PathBuf::from("a/b.pins.json")
        );
        assert_eq!(beside(Path::new("b")), PathBuf::from("b.pins.json"));
    }
}

//! What two policies say of many calls.

use mcp_policy::{ListedTools, Policy};
use serde_json::{Value, json};

use super::{
    calls,
    compare::{Certainty, Compared, Pair},
};
use crate::{
    called::Target,
    names::{count, shown},
};

/// Which of the calls that these lines record two policies decide otherwise, in front of a
/// server that offers these tools, if that is known.
pub(crate) fn between(
    old: &Policy,
    new: &Policy,
    tools: Option<&ListedTools>,
    lines: &[Vec<u8>],
) -> Difference {
    let nothing = ListedTools::default();
    let pair = Pair {
        old,
        new,
        tools: tools.unwrap_or(&nothing),
        knows_tools: tools.is_some(),
    };
    calls::compare_lines(lines, pair)
}

/// What became of everything that was compared.
pub(crate) struct Difference {
    /// What is counted.
    pub(crate) noun: &'static str,
    pub(crate) compared: Vec<Compared>,
    /// What was not compared, and how many of these there were.
    pub(crate) skipped: Vec<(&'static str, usize)>,
    /// What has to be known to read it.
    pub(crate) note: Option<&'static str>,
}

impl Difference {
    pub(crate) fn all(&self, known: Certainty) -> impl Iterator<Item = &Compared> {
        self.compared
            .iter()
            .filter(move |compared| compared.known == known)
    }

    pub(crate) fn count(&self, known: Certainty) -> usize {
        self.all(known).map(|compared| compared.times).sum()
    }

    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.skipped.iter().copied().filter(|(_, times)| *times > 0)
    }

    pub(crate) fn as_text(&self) -> String {
        let mut text = String::new();
        for (known, word) in [
            (Certainty::Changed, "changed"),
            (Certainty::NeedsArguments, "needs arguments"),
        ] {
            for compared in self.all(known) {
                let times = match compared.times {
                    1 => String::new(),
                    times => format!(" ({})", count(times, self.noun)),
                };
                let Compared {
                    label, old, new, ..
                } = compared;
                text += &format!("{word}: {label}{times}\n  old: {old}\n  new: {new}\n");
            }
        }
        text += &format!(
            "{}: {} changed, {} need arguments, {} unchanged",
            count(
                self.compared.iter().map(|compared| compared.times).sum(),
                self.noun
            ),
            self.count(Certainty::Changed),
            self.count(Certainty::NeedsArguments),
            self.count(Certainty::Same),
        );
        for (what, times) in self.skipped() {
            text += &format!("\nnot compared: {times} {what}");
        }
        if let Some(note) = self.note {
            text += &format!("\nnote: {note}");
        }
        text
    }

    pub(crate) fn as_json(&self) -> Value {
        let list = |known| -> Vec<Value> { self.all(known).map(Compared::as_json).collect() };
        let skipped: serde_json::Map<String, Value> = self
            .skipped()
            .map(|(what, times)| (what.to_owned(), json!(times)))
            .collect();
        json!({
            "ok": self.count(Certainty::Changed) == 0,
            "changed": list(Certainty::Changed),
            "needs_arguments": list(Certainty::NeedsArguments),
            "counts": {
                "changed": self.count(Certainty::Changed),
                "needs_arguments": self.count(Certainty::NeedsArguments),
                "unchanged": self.count(Certainty::Same),
            },
            "not_compared": skipped,
            "note": self.note,
        })
    }
}

/// A name among others, for people.
pub(crate) fn label(target: Target, name: &str) -> String {
    format!("{} `{}`", target.noun(), shown(name))
}

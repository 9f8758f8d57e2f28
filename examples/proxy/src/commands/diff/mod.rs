//! The `diff` command: which calls a new policy decides otherwise than an old one. And
//! [`mod@replay`], otherwise than they were decided.

mod compare;
mod log;
mod mentioned;
mod replay;

use std::{path::Path, process::ExitCode};

use mcp_policy::{ListedTools, Policy};
use serde_json::{Value, json};

use self::compare::{Compared, Pair};
pub(crate) use self::compare::{Known, rule_at};
pub(crate) use self::replay::run as replay;
use super::{
    cases, load, offered,
    show::{print, print_json},
};
use crate::{
    cli::DiffArgs,
    failure::Failure,
    names::{count, shown},
};

pub(crate) fn run(args: &DiffArgs, json: bool) -> Result<ExitCode, Failure> {
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let tools = offered::listed(args.tools.as_deref())?;
    let pair = Pair {
        old: &old,
        new: &new,
        tools: &tools,
        knows_tools: args.tools.is_some(),
    };
    let difference = match (&args.audit, &args.cases) {
        (Some(place), _) => log::compare(place, pair)?,
        (None, Some(path)) => of_cases(path, pair)?,
        (None, None) => mentioned::compare(pair),
    };
    Ok(difference.report(json))
}

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
    log::compare_lines(lines, pair)
}

fn of_cases(path: &Path, pair: Pair<'_>) -> Result<Difference, Failure> {
    let text = cases::text(path).map_err(Failure::input)?;
    let mut compared = Vec::new();
    for case in cases::read(path, &text).map_err(Failure::input)? {
        let action = case.action();
        let action = action.map_err(|error| {
            Failure::input(format!("{}: {}: {error}", path.display(), case.name))
        })?;
        let label = format!("{} ({})", case.name, case.call.label());
        let pair = pair.about(case.call.target);
        compared.push(pair.decide(&action, label));
    }
    Ok(Difference {
        noun: "case",
        compared,
        skipped: Vec::new(),
        note: None,
    })
}

/// What became of everything that was compared.
pub(crate) struct Difference {
    /// What is counted.
    noun: &'static str,
    compared: Vec<Compared>,
    /// What was not compared, and how many of these there were.
    skipped: Vec<(&'static str, usize)>,
    /// What has to be known to read it.
    note: Option<&'static str>,
}

impl Difference {
    /// Prints it, and tells how the program ends.
    fn report(&self, json: bool) -> ExitCode {
        if json {
            print_json(&self.as_json());
        } else {
            print(&self.as_text());
        }
        match self.all(Known::Changed).next() {
            Some(_) => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        }
    }

    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &Compared> {
        self.compared
            .iter()
            .filter(move |compared| compared.known == known)
    }

    pub(crate) fn count(&self, known: Known) -> usize {
        self.all(known).map(|compared| compared.times).sum()
    }

    pub(crate) fn skipped(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.skipped.iter().copied().filter(|(_, times)| *times > 0)
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for (known, word) in [
            (Known::Changed, "changed"),
            (Known::NeedsArguments, "needs arguments"),
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
            self.count(Known::Changed),
            self.count(Known::NeedsArguments),
            self.count(Known::Same),
        );
        for (what, times) in self.skipped() {
            text += &format!("\nnot compared: {times} {what}");
        }
        if let Some(note) = self.note {
            text += &format!("\nnote: {note}");
        }
        text
    }

    fn as_json(&self) -> Value {
        let list = |known| -> Vec<Value> { self.all(known).map(Compared::as_json).collect() };
        let skipped: serde_json::Map<String, Value> = self
            .skipped()
            .map(|(what, times)| (what.to_owned(), json!(times)))
            .collect();
        json!({
            "ok": self.count(Known::Changed) == 0,
            "changed": list(Known::Changed),
            "needs_arguments": list(Known::NeedsArguments),
            "counts": {
                "changed": self.count(Known::Changed),
                "needs_arguments": self.count(Known::NeedsArguments),
                "unchanged": self.count(Known::Same),
            },
            "not_compared": skipped,
            "note": self.note,
        })
    }
}

/// A name among others, for people.
fn label(target: super::call::Target, name: &str) -> String {
    format!("{} `{}`", target.noun(), shown(name))
}

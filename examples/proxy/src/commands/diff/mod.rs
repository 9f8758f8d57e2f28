//! The `diff` command: which calls a new policy decides otherwise than an old one. And
//! [`mod@replay`], otherwise than they were decided.

mod mentioned;
mod replay;

use std::{path::Path, process::ExitCode};

pub(crate) use self::replay::run as replay;
use super::{
    cases, load, offered,
    show::{print, print_json},
};
use crate::{
    cli::DiffArgs,
    failure::Failure,
    verdicts::{Certainty, Difference, calls, compare::Pair},
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
        (Some(place), _) => calls::compare(place, pair)?,
        (None, Some(path)) => of_cases(path, pair)?,
        (None, None) => mentioned::compare(pair),
    };
    Ok(report(&difference, json))
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

/// Prints it, and tells how the program ends.
fn report(difference: &Difference, json: bool) -> ExitCode {
    if json {
        print_json(&difference.as_json());
    } else {
        print(&difference.as_text());
    }
    match difference.all(Certainty::Changed).next() {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

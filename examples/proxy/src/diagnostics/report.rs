//! Everything that is wrong with a configuration.

use std::{ops::Range, path::PathBuf};

use mcp_policy::LoadError;
use serde_json::{Value, json};

use super::Shown;

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// What is said of a document that does not load.
#[derive(Debug)]
pub(crate) struct Report {
    /// The document.
    pub(crate) path: PathBuf,
    /// The document without what may be secret; empty if that cannot be told.
    pub(crate) shown: String,
    /// Whether there are lines in that, and not only their breaks.
    pub(crate) shows_lines: bool,
    /// In the order of the document; never empty.
    pub(crate) problems: Vec<Problem>,
    /// The policies that do not load.
    pub(crate) policies: Vec<(PathBuf, LoadError)>,
}

impl Report {
    /// Every problem with the place it is at, and how many there were.
    pub(crate) fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let (line, column) = self.place(problem);
            let shown = Shown {
                path: &self.path,
                source: self.shows_lines.then_some(&*self.shown),
                span: problem.span.clone(),
                line,
                column,
                message: &problem.message,
                help: problem.help.as_deref(),
            };
            out += &shown.text(colour);
            out += "\n\n";
        }
        for (path, error) in &self.policies {
            out += &super::text(path, error, colour);
            out += "\n\n";
        }
        let summary = match self.problems.len() {
            1 => "the configuration was not loaded because of the error above".to_owned(),
            errors => {
                format!("the configuration was not loaded because of the {errors} errors above")
            }
        };
        out + &super::sentence(&summary, colour)
    }

    /// The same in a few words, without any line of a file.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let problems = self.problems.iter().map(|problem| match &problem.help {
            Some(help) => format!("{}: {help}", problem.message),
            None => problem.message.clone(),
        });
        let policies =
            self.policies
                .iter()
                .map(|(path, error)| match error.diagnostics().first() {
                    Some(first) => format!("{}: {}", path.display(), first.message()),
                    None => error.to_string(),
                });
        problems.chain(policies).collect()
    }

    /// The same as a JSON array.
    pub(crate) fn json(&self) -> Value {
        let found = self.problems.iter().map(|problem| {
            let (line, column) = self.place(problem);
            let mut found = json!({
                "severity": "error",
                "file": self.path.display().to_string(),
                "message": problem.message,
                "line": line,
                "column": column,
                "span": problem.span,
            });
            if let (Some(help), Some(members)) = (&problem.help, found.as_object_mut()) {
                members.insert("help".to_owned(), help.as_str().into());
            }
            found
        });
        let policies = self.policies.iter().flat_map(|(path, error)| {
            let found = super::json(path, error);
            let found = found.as_array().cloned().unwrap_or_default();
            found.into_iter().map(|mut found| {
                if let Some(members) = found.as_object_mut() {
                    members.insert("file".to_owned(), path.display().to_string().into());
                }
                found
            })
        });
        found.chain(policies).collect()
    }

    /// The line and the column of a problem, both from 1.
    fn place(&self, problem: &Problem) -> (usize, usize) {
        let before = self.shown.get(..problem.span.start).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let begun = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let column = before.get(begun..).unwrap_or_default().chars().count();
        (line, column.saturating_add(1))
    }
}

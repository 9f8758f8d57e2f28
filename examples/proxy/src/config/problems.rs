//! Why a document does not load.

use std::path::{Path, PathBuf};

use mcp_policy::LoadError;
use serde_json::{Value, json};
use toml_edit::TomlError;

use super::{Problem, Standing, files::Seen};
use crate::diagnostics;

/// Everything that keeps a document from being used.
#[derive(Debug)]
pub(crate) struct Unloadable {
    /// Everything that was read, the document first.
    pub(crate) files: Vec<Seen>,
    /// The document without what may be secret; empty if that cannot be told.
    pub(super) shown: String,
    /// In the order of the document; never empty.
    pub(super) problems: Vec<Problem>,
    /// The policies that do not load.
    pub(super) policies: Vec<(PathBuf, LoadError)>,
    /// The tokens that still stand in it; `None` if it cannot be read.
    pub(crate) standing: Option<Standing>,
    /// Where the `lockdown` command writes by it.
    pub(crate) lockdown: PathBuf,
}

impl Unloadable {
    pub(super) fn unreadable(seen: Seen, why: &str) -> Box<Self> {
        let message = format!("cannot read it: {why}");
        Self::alone(seen, 0..0, message, String::new())
    }

    /// Its lines are not shown, because nobody knows what in them is secret: only the
    /// line breaks are kept, which say where something is.
    pub(super) fn no_toml(seen: Seen, text: &str, error: &TomlError) -> Box<Self> {
        let span = error.span().unwrap_or(0..0);
        let shown = text.bytes().map(|byte| match byte {
            b'\n' => '\n',
            _ => ' ',
        });
        // A message of the parser repeats nothing of the document but punctuation.
        let message = format!("this is no TOML: {}", error.message());
        Self::alone(seen, span, message, shown.collect())
    }

    fn alone(
        seen: Seen,
        span: std::ops::Range<usize>,
        message: String,
        shown: String,
    ) -> Box<Self> {
        Box::new(Self {
            lockdown: super::usual_lockdown(seen.path()),
            files: vec![seen],
            shown,
            problems: vec![Problem {
                span,
                message,
                help: None,
            }],
            policies: Vec::new(),
            standing: None,
        })
    }

    fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), Seen::path)
    }

    /// Whether the document itself cannot be read, so that nobody knows what it says.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.shown.is_empty() && self.standing.is_none()
    }

    /// Every problem with the place it is at, and how many there were.
    pub(crate) fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let (line, column) = self.place(problem);
            let shown = diagnostics::Shown {
                path: self.path(),
                // Of what is no TOML there are only blanks.
                source: self.standing.is_some().then_some(&*self.shown),
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
            out += &diagnostics::text(path, error, colour);
            out += "\n\n";
        }
        let summary = match self.problems.len() {
            1 => "the configuration was not loaded because of the error above".to_owned(),
            errors => {
                format!("the configuration was not loaded because of the {errors} errors above")
            }
        };
        out + &diagnostics::sentence(&summary, colour)
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
                "file": self.path().display().to_string(),
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
            let found = diagnostics::json(error);
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

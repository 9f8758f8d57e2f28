//! Why a document does not load.

use std::path::PathBuf;

use toml_edit::TomlError;

use super::{Standing, files::Seen};
use crate::{
    diagnostics::{Problem, Report},
    failure::Failure,
};

/// Everything that keeps a document from being used.
#[derive(Debug)]
pub(crate) struct Unloadable {
    /// Everything that was read, the document first.
    pub(crate) files: Vec<Seen>,
    /// What is said of it.
    pub(crate) report: Report,
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
            report: Report {
                path: seen.path().to_owned(),
                shown,
                // Of what is no TOML there are only blanks.
                shows_lines: false,
                problems: vec![Problem {
                    span,
                    message,
                    help: None,
                }],
                policies: Vec::new(),
            },
            files: vec![seen],
            standing: None,
        })
    }

    /// Whether the document itself cannot be read, so that nobody knows what it says.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.report.shown.is_empty() && self.standing.is_none()
    }
}

impl From<Box<Unloadable>> for Failure {
    fn from(unloadable: Box<Unloadable>) -> Self {
        Self::Config(Box::new(unloadable.report))
    }
}

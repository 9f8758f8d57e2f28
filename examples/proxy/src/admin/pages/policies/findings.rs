//! What `check` says of a text.

use mcp_policy::{Diagnostic, Policy, Severity};

use super::Subject;
use crate::{json_text::visible, names::shown};

/// Findings that are shown.
const MOST: usize = 100;
/// Characters of the line that is shown with one.
const EXCERPT: usize = 120;

/// Characters of it before the place.
const BEFORE: usize = 60;

/// Something that is wrong or doubtful.
pub(super) struct Finding {
    pub(super) is_error: bool,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) pointer: String,
    pub(super) line: usize,
    pub(super) column: usize,
    /// The line itself.
    pub(super) excerpt: String,
}

/// The policy that a text is, if it is one, and what there is to say of it.
pub(super) struct Checked {
    pub(super) policy: Option<Policy>,
    pub(super) findings: Vec<Finding>,
    pub(super) errors: usize,
    pub(super) warnings: usize,
}

impl Checked {
    pub(super) fn of(text: &str, subject: &Subject) -> Self {
        let (policy, found) = match text.parse::<Policy>() {
            Ok(policy) => {
                let mut found = policy.warnings().to_vec();
                for (_, offered) in &subject.offered {
                    for one in policy.check_tools(&offered.tools.values) {
                        if !found.contains(&one) {
                            found.push(one);
                        }
                    }
                }
                found.sort_by_key(|one| one.span().start);
                (Some(policy), found)
            }
            Err(error) => (None, error.diagnostics().to_vec()),
        };
        let is_error = |one: &&Diagnostic| matches!(one.severity(), Severity::Error);
        let errors = found.iter().filter(is_error).count();
        Self {
            policy,
            errors,
            warnings: found.len().saturating_sub(errors),
            findings: found
                .iter()
                .take(MOST)
                .map(|one| Finding::of(one, text))
                .collect(),
        }
    }

    /// How many more there are than are shown.
    pub(super) fn more(&self) -> usize {
        let all = self.errors.saturating_add(self.warnings);
        all.saturating_sub(self.findings.len())
    }
}

impl Finding {
    fn of(one: &Diagnostic, text: &str) -> Self {
        let line = text.lines().nth(one.line().saturating_sub(1));
        let line = line.unwrap_or_default();
        // A long line is shown from shortly before the place.
        let skipped = one.column().saturating_sub(BEFORE);
        let excerpt = line.chars().skip(skipped).take(EXCERPT);
        let excerpt: String = excerpt.collect();
        Self {
            is_error: matches!(one.severity(), Severity::Error),
            message: visible(one.message()),
            help: one.help().map(visible),
            pointer: shown(one.pointer()),
            line: one.line(),
            column: one.column(),
            excerpt: visible(excerpt.trim()),
        }
    }
}

//! What would change if a text were saved.

use mcp_policy::Policy;
use similar::{ChangeTag, TextDiff};

use super::{Draft, Subject, recorded::Recorded};
use crate::{
    json_text::visible,
    names::shown,
    verdicts::{Certainty, Said, between, rule_at},
};

/// Lines of a difference that are shown.
const MOST_LINES: usize = 2_000;
/// Characters of a line that are shown.
const LONGEST_LINE: usize = 400;
/// Tools, and calls, of which is told that they change.
const MOST_ROWS: usize = 200;
/// Lines around what has changed.
const AROUND: usize = 3;
/// How long is looked for the smallest difference.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// What would change.
pub(super) struct Review {
    pub(super) lines: Vec<Line>,
    pub(super) is_cut: bool,
    /// First those that change.
    pub(super) verdicts: Vec<Verdict>,
    /// How many get another verdict, and how many keep theirs by another rule.
    pub(super) changed: usize,
    pub(super) kept: usize,
    /// Of how many tools the policies were asked.
    pub(super) tools: usize,
    pub(super) calls: Option<Calls>,
    /// Why nothing can be said of calls.
    pub(super) no_calls: Option<String>,
}

/// A line of the difference.
pub(super) struct Line {
    /// `+`, `-`, a blank, or `@` between parts.
    pub(super) sign: char,
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// A tool of which the policies do not say the same.
pub(super) struct Verdict {
    pub(super) is_changed: bool,
    pub(super) name: String,
    pub(super) old: String,
    pub(super) old_rule: String,
    pub(super) new: String,
    pub(super) new_rule: String,
}

/// What would have been decided otherwise.
pub(super) struct Calls {
    pub(super) source: &'static str,
    pub(super) is_cut: bool,
    pub(super) rows: Vec<Call>,
    pub(super) changed: usize,
    pub(super) unclear: usize,
    pub(super) same: usize,
    pub(super) skipped: Vec<String>,
}

/// A recorded call, as often as it was there.
pub(super) struct Call {
    pub(super) is_certain: bool,
    pub(super) label: String,
    pub(super) times: usize,
    pub(super) old: String,
    pub(super) new: String,
}

impl Review {
    pub(super) fn of(
        now: &str,
        draft: &Draft,
        new: Option<&Policy>,
        subject: &Subject,
        recorded: impl FnOnce() -> Result<Recorded, String>,
    ) -> Self {
        let old_text = Draft::of_file(now).text;
        let (lines, is_cut) = lines(&old_text, &draft.text);
        let mut review = Self {
            lines,
            is_cut,
            verdicts: Vec::new(),
            changed: 0,
            kept: 0,
            tools: 0,
            calls: None,
            no_calls: None,
        };
        let old: Option<Policy> = now.parse().ok();
        match (&old, new) {
            (Some(old), Some(new)) => {
                review.ask_of_tools(old, new, subject);
                match recorded() {
                    Ok(recorded) => review.calls = Some(Calls::of(old, new, subject, &recorded)),
                    Err(why) => review.no_calls = Some(visible(&why)),
                }
            }
            (None, _) => {
                review.no_calls = Some("the file as it is now is no policy that loads".to_owned());
            }
            (_, None) => {
                review.no_calls = Some("this text is no policy that loads".to_owned());
            }
        }
        review
    }

    fn ask_of_tools(&mut self, old: &Policy, new: &Policy, subject: &Subject) {
        for (server, offered) in &subject.offered {
            for tool in &offered.tools.definitions {
                self.tools = self.tools.saturating_add(1);
                let name = tool.name();
                let [one, other] = [old, new].map(|policy| Said::of(policy, name, &offered.listed));
                if (one.outcome(), one.rule()) == (other.outcome(), other.rule())
                    && is_same_rule(old, new, one.rule())
                {
                    continue;
                }
                let is_changed = one.outcome() != other.outcome();
                let count = match is_changed {
                    true => &mut self.changed,
                    false => &mut self.kept,
                };
                *count = count.saturating_add(1);
                let name = match subject.offered.len() {
                    1 => shown(name),
                    _ => format!("{} on {}", shown(name), shown(server)),
                };
                self.verdicts.push(Verdict {
                    is_changed,
                    name,
                    old: one.outcome().to_owned(),
                    old_rule: shown(one.rule()),
                    new: other.outcome().to_owned(),
                    new_rule: shown(other.rule()),
                });
            }
        }
        self.verdicts.sort_by_key(|one| !one.is_changed);
        self.verdicts.truncate(MOST_ROWS);
    }

    /// How many tools are not shown of which something is said otherwise.
    pub(super) fn more_verdicts(&self) -> usize {
        let all = self.changed.saturating_add(self.kept);
        all.saturating_sub(self.verdicts.len())
    }

    /// Whether it would change nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Whether two policies have the same rule at the place of a decision, and for all tools.
fn is_same_rule(old: &Policy, new: &Policy, place: &str) -> bool {
    let [one, other] = [old, new].map(|policy| rule_at(policy, place));
    one == other && old.document().all_tools == new.document().all_tools
}

fn lines(old: &str, new: &str) -> (Vec<Line>, bool) {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if index > 0 {
            lines.push(Line::new('@', "between", "…"));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            if lines.len() >= MOST_LINES {
                return (lines, true);
            }
            let (sign, class) = match change.tag() {
                ChangeTag::Delete => ('-', "removed"),
                ChangeTag::Insert => ('+', "added"),
                ChangeTag::Equal => (' ', "same"),
            };
            lines.push(Line::new(
                sign,
                class,
                change.value().trim_end_matches('\n'),
            ));
        }
    }
    (lines, false)
}

impl Line {
    fn new(sign: char, class: &'static str, text: &str) -> Self {
        let mut shown: String = text.chars().take(LONGEST_LINE).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self {
            sign,
            class,
            text: visible(&shown),
        }
    }
}

impl Calls {
    fn of(old: &Policy, new: &Policy, subject: &Subject, recorded: &Recorded) -> Self {
        // What several servers say of one name need not be the same.
        let tools = match subject.offered.as_slice() {
            [(_, one)] if subject.unknown.is_empty() => Some(&one.listed),
            _ => None,
        };
        let difference = between(old, new, tools, &recorded.lines);
        let rows = [Certainty::Changed, Certainty::NeedsArguments].into_iter();
        let rows = rows.flat_map(|known| {
            let is_certain = known == Certainty::Changed;
            difference.all(known).map(move |compared| Call {
                is_certain,
                label: compared.label.clone(),
                times: compared.times,
                old: compared.old.to_string(),
                new: compared.new.to_string(),
            })
        });
        Self {
            source: recorded.source,
            is_cut: recorded.is_cut,
            rows: rows.take(MOST_ROWS).collect(),
            changed: difference.count(Certainty::Changed),
            unclear: difference.count(Certainty::NeedsArguments),
            same: difference.count(Certainty::Same),
            skipped: difference
                .skipped()
                .map(|(what, times)| format!("{times} {what}"))
                .collect(),
        }
    }

    /// How many were compared.
    pub(super) fn all(&self) -> usize {
        [self.changed, self.unclear, self.same].iter().sum()
    }
}

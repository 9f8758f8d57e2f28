//! What is shown of an attack.

use serde_json::{Value, json};

use super::{
    cases::{Case, Era},
    connection::Summary,
};
use crate::{
    commands::show::table,
    names::{count, shown},
};

/// Names that are shown of what one case executed.
const MOST_NAMES: usize = 4;

/// What is to be thought of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What happened is what should.
    Passed,
    /// A request that should be refused was executed, and did what others are allowed to.
    Loose,
    Failed,
    /// The gateway does not speak its protocol, or was not there any more.
    NotTested,
}

/// A case, and what happened.
pub(super) struct Tried<'c> {
    pub(super) case: &'c Case,
    pub(super) executed: Vec<String>,
    /// `None` if there was none.
    pub(super) answer: Option<Summary>,
    pub(super) verdict: Verdict,
    /// What is wrong, if the verdict needs to be explained.
    pub(super) why: Option<&'static str>,
}

impl<'c> Tried<'c> {
    /// A case for which no gateway was left.
    pub(super) fn not_sent(case: &'c Case) -> Self {
        Self {
            case,
            executed: Vec::new(),
            answer: None,
            verdict: Verdict::NotTested,
            why: Some("it was not sent: the gateway does not answer any more"),
        }
    }

    fn happened(&self) -> String {
        let answer = self
            .answer
            .map_or_else(|| "no answer".to_owned(), |answer| answer.text());
        let mut text = if self.executed.is_empty() {
            answer
        } else {
            names(&self.executed)
        };
        if let Some(why) = self.why {
            text += &format!(" ({why})");
        }
        text
    }
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Loose => "loose",
            Self::Failed => "FAIL",
            Self::NotTested => "not tested",
        }
    }

    fn in_json(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Loose => "loose",
            Self::Failed => "failed",
            Self::NotTested => "notTested",
        }
    }
}

/// `ran safe`.
fn names(executed: &[String]) -> String {
    let mut names: Vec<_> = executed
        .iter()
        .take(MOST_NAMES)
        .map(|name| shown(name))
        .collect();
    if executed.len() > MOST_NAMES {
        names.push("…".to_owned());
    }
    format!("ran {}", names.join(", "))
}

/// Whether the gateway holds. Where not even the plainest call goes through, that
/// nothing else does tells nothing.
pub(super) fn is_fine(tried: &[Tried<'_>], spoken: &[Era]) -> bool {
    let failed = tried.iter().any(|tried| tried.verdict == Verdict::Failed);
    !failed && !spoken.is_empty()
}

fn counts(tried: &[Tried<'_>]) -> [usize; 4] {
    [
        Verdict::Passed,
        Verdict::Loose,
        Verdict::Failed,
        Verdict::NotTested,
    ]
    .map(|verdict| {
        tried
            .iter()
            .filter(|tried| tried.verdict == verdict)
            .count()
    })
}

/// A table of all cases, and how many there are of what.
pub(super) fn text(policy: &str, tried: &[Tried<'_>], spoken: &[Era]) -> String {
    let rows: Vec<_> = tried
        .iter()
        .map(|tried| {
            let expected = match tried.case.expected() {
                nothing if nothing.is_empty() => "nothing runs".to_owned(),
                runs => names(&runs),
            };
            [
                tried.verdict.text().to_owned(),
                tried
                    .case
                    .rows
                    .iter()
                    .map(|row| shown(row))
                    .collect::<Vec<_>>()
                    .join(" "),
                shown(&tried.case.title),
                expected,
                tried.happened(),
            ]
        })
        .collect();
    let mut text = table(["", "ROWS", "CASE", "EXPECTED", "HAPPENED"], &rows);
    let [passed, loose, failed, not_tested] = counts(tried);
    text += &format!(
        "\n{} under the policy {}: ",
        count(tried.len(), "case"),
        shown(policy)
    );
    text += &format!("{passed} ok, {loose} loose, {failed} FAIL, {not_tested} not tested\n");
    if spoken.is_empty() {
        text += "No allowed call went through, not even the plainest: is the recording server \
                 behind this gateway, and does the gateway have this policy?\n";
    } else {
        let era = |era: &Era| era.as_str();
        let spoken: Vec<_> = spoken.iter().map(era).collect();
        text += &format!(
            "Of the protocol the gateway speaks: {}\n",
            spoken.join(", ")
        );
    }
    text
}

/// The same for programs.
pub(super) fn json(policy: &str, tried: &[Tried<'_>], spoken: &[Era]) -> Value {
    let [passed, loose, failed, not_tested] = counts(tried);
    let case = |tried: &Tried<'_>| {
        json!({
            "title": tried.case.title,
            "rows": tried.case.rows,
            "era": tried.case.era.as_str(),
            "expected": tried.case.expected(),
            "executed": tried.executed.iter().map(|name| shown(name)).collect::<Vec<_>>(),
            "answer": tried.answer.map(|answer| answer.json()),
            "verdict": tried.verdict.in_json(),
            "why": tried.why,
        })
    };
    json!({
        "ok": is_fine(tried, spoken),
        "policy": policy,
        "eras": spoken.iter().map(|era| era.as_str()).collect::<Vec<_>>(),
        "passed": passed,
        "loose": loose,
        "failed": failed,
        "notTested": not_tested,
        "cases": tried.iter().map(case).collect::<Vec<_>>(),
    })
}

//! A message, as it was recorded and as people see it.

use std::time::Duration;

use jiff::Timestamp;
use mcp_policy::AuditRow;
use serde::Deserialize;

use crate::names::shown;

/// What was decided, and what came of it.
pub(crate) struct Message {
    /// As it was recorded.
    decision: String,
    of_decision: Decision,
    outcome: Option<(String, Outcome)>,
}

/// The record of a decision.
#[derive(Deserialize)]
pub(crate) struct Decision {
    event: String,
    time: Timestamp,
    #[serde(rename = "decision")]
    id: String,
    caller: Option<String>,
    pub(crate) session: Option<String>,
    server: Option<String>,
    kind: Option<String>,
    pub(crate) method: Option<String>,
    name: Option<String>,
    inner: Option<String>,
    #[serde(default)]
    pub(crate) more_names: Vec<String>,
    #[serde(default)]
    pub(crate) argument_keys: Vec<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) policy_digest: Option<String>,
    verdict: String,
    rule: String,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
    pub(crate) shadow_verdict: Option<String>,
    pub(crate) shadow_rule: Option<String>,
    pub(crate) approval: Option<String>,
    pub(crate) decided_by: Option<String>,
}

/// A condition that was looked at, and what it came to.
#[derive(Deserialize)]
pub(crate) struct Condition {
    pub(crate) place: String,
    pub(crate) truth: String,
}

/// The record of what came of it.
#[derive(Deserialize)]
pub(crate) struct Outcome {
    event: String,
    #[serde(rename = "decision")]
    id: String,
    pub(crate) ending: String,
    pub(crate) status: Option<u16>,
    latency_us: u64,
}

impl Outcome {
    /// How long it took, for people.
    pub(crate) fn latency(&self) -> String {
        latency(self.latency_us)
    }
}

/// The id of the decision whose outcome this line is, if it is one.
pub(crate) fn ended(line: &str) -> Option<String> {
    read_outcome(line).map(|outcome| outcome.id)
}

fn read_outcome(line: &str) -> Option<Outcome> {
    let outcome = serde_json::from_str::<Outcome>(line).ok();
    outcome.filter(|outcome| outcome.event == "outcome")
}

impl Message {
    /// `None` if it is no record of a decision.
    pub(crate) fn new(decision: String, outcome: Option<String>) -> Option<Self> {
        let of_decision: Decision = serde_json::from_str(&decision).ok()?;
        let mut message = Self {
            decision,
            of_decision,
            outcome: None,
        };
        outcome.into_iter().for_each(|outcome| message.end(outcome));
        (message.of_decision.event == "decision").then_some(message)
    }

    /// `None` if there is no record of a decision in it.
    pub(crate) fn of_row(row: &AuditRow) -> Option<Self> {
        let outcome = row.outcome().map(str::to_owned);
        Self::new(row.decision().to_owned(), outcome)
    }

    /// This has come of it.
    pub(crate) fn end(&mut self, outcome: String) {
        let read = read_outcome(&outcome);
        self.outcome = read.map(|read| (outcome, read));
    }

    pub(crate) fn id(&self) -> &str {
        &self.of_decision.id
    }

    pub(crate) fn time(&self) -> Timestamp {
        self.of_decision.time
    }

    pub(crate) fn server(&self) -> Option<&str> {
        self.of_decision.server.as_deref()
    }

    pub(crate) fn caller(&self) -> Option<&str> {
        self.of_decision.caller.as_deref()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.of_decision.name.as_deref()
    }

    pub(crate) fn inner(&self) -> Option<&str> {
        self.of_decision.inner.as_deref()
    }

    pub(crate) fn verdict(&self) -> &str {
        &self.of_decision.verdict
    }

    pub(crate) fn rule(&self) -> &str {
        &self.of_decision.rule
    }

    /// Everything else that was recorded of the decision.
    pub(crate) fn details(&self) -> &Decision {
        &self.of_decision
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref().map(|(_, outcome)| outcome)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// Lines as they were recorded.
    pub(crate) fn as_json(&self) -> String {
        match &self.outcome {
            Some((outcome, _)) => format!("{}\n{outcome}", self.decision),
            None => self.decision.clone(),
        }
    }

    /// One line for people.
    pub(crate) fn as_text(&self) -> String {
        let Decision {
            time,
            verdict,
            rule,
            shadow_verdict,
            shadow_rule,
            decided_by,
            ..
        } = &self.of_decision;
        let (ending, latency) = match &self.outcome {
            Some((_, outcome)) => (shown(&outcome.ending), outcome.latency()),
            None => ("-".to_owned(), String::new()),
        };
        let or_none = |name: Option<&str>| name.map_or_else(|| "-".to_owned(), shown);
        let mut line = format!(
            "{time:.3}  {:<11}  {ending:<9}  {latency:>9}  {}  {}  {}  {}",
            shown(verdict),
            or_none(self.caller()),
            or_none(self.server()),
            self.what(),
            shown(rule),
        );
        if let Some(operator) = decided_by {
            line += &format!("  decided by {}", shown(operator));
        }
        if let (Some(verdict), Some(rule)) = (shadow_verdict, shadow_rule) {
            line += &format!("  in shadow {} by {}", shown(verdict), shown(rule));
        }
        line
    }

    /// The tool that was called; of anything else also how.
    fn what(&self) -> String {
        let mut what = match (self.how(), self.name()) {
            ("tools/call", Some(name)) => shown(name),
            (how, Some(name)) => format!("{} {}", shown(how), shown(name)),
            (how, None) => shown(how),
        };
        if let Some(inner) = self.inner() {
            what += &format!(" > {}", shown(inner));
        }
        what
    }

    /// The method; of what has none the kind of message.
    pub(crate) fn how(&self) -> &str {
        let Decision { kind, method, .. } = &self.of_decision;
        method.as_deref().or(kind.as_deref()).unwrap_or("-")
    }
}

fn latency(microseconds: u64) -> String {
    let latency = Duration::from_micros(microseconds);
    match latency.as_secs() {
        0..10 => format!("{:.1} ms", latency.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", latency.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: &str = r#"{"event":"decision","time":"2026-11-24T22:10:03.412907Z","decision":"5f","caller":"alice","server":"s","method":"tools/call","name":"run","inner":"x\u202e\\u{202e}\n","verdict":"allowed","rule":"/tools/run","shadow":true,"shadow_verdict":"denied","shadow_rule":"/tools/x"}"#;
    const OUTCOME: &str =
        r#"{"event":"outcome","decision":"5f","ending":"answered","latency_us":96208}"#;

    #[test]
    fn a_line_tells_it_all_and_cannot_pretend() {
        let mut message = Message::new(DECISION.to_owned(), None).unwrap();
        let line = |latency: &str| {
            format!(
                "2026-11-24T22:10:03.412Z  allowed      {latency}  alice  s  \
                 run > x\\u{{202e}}\\u{{202e}}\\n  /tools/run  in shadow denied by /tools/x"
            )
        };
        assert_eq!(message.as_text(), line("-                   "));
        assert_eq!(message.as_json(), DECISION);
        message.end(OUTCOME.to_owned());
        assert_eq!(message.as_text(), line("answered     96.2 ms"));
        assert_eq!(message.as_json(), format!("{DECISION}\n{OUTCOME}"));
    }

    #[test]
    fn what_is_no_record_is_no_message() {
        assert!(Message::new(OUTCOME.to_owned(), None).is_none());
        assert!(Message::new(DECISION.replace("decision\",\"t", "x\",\"t"), None).is_none());
        assert_eq!(ended(OUTCOME).as_deref(), Some("5f"));
        assert_eq!(ended(DECISION), None);
        assert_eq!(ended(&OUTCOME[..20]), None);
    }
}

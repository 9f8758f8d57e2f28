//! Which messages are meant, and when something was.

use std::time::SystemTime;

use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use mcp_policy::{AuditFilter, Verdict};

use super::message::Message;

/// Which recorded messages are meant: those of which all that is said is true.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct MeantMessages {
    /// To the server of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// Of this caller
    #[arg(long, value_name = "ID")]
    pub(crate) caller: Option<String>,

    /// About this tool, prompt or resource
    #[arg(long, visible_alias = "tool", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// With this verdict
    #[arg(long, value_parser = Verdict::ALL.map(Verdict::as_str))]
    pub(crate) verdict: Option<String>,

    /// Decided by what stands at this place of the policy or below it, such as
    /// `/tools/send`, or by what is called so, such as `(default deny)`
    #[arg(long, value_name = "PLACE")]
    pub(crate) rule: Option<String>,

    /// The one with this id, which refusals carry as `decisionId`
    #[arg(long, value_name = "ID")]
    pub(crate) decision: Option<String>,

    /// Decided at this time or later: `2026-11-24T22:10:00Z`, the day `2026-11-24`, or how
    /// long ago, like `15m`, `2h` or `7d`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Timestamp>,

    /// Decided before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Timestamp>,
}

/// The same as an [`AuditFilter`], for lines.
pub(crate) struct Meant<'a>(&'a MeantMessages);

impl<'a> Meant<'a> {
    pub(crate) fn new(said: &'a MeantMessages) -> Self {
        Self(said)
    }

    pub(crate) fn as_filter(&self) -> AuditFilter {
        let mut filter = self.at_any_time();
        if let Some(since) = self.0.since {
            filter = filter.since(system(since));
        }
        if let Some(until) = self.0.until {
            filter = filter.until(system(until));
        }
        filter
    }

    /// The same without looking where a time begins or ends.
    pub(crate) fn at_any_time(&self) -> AuditFilter {
        let MeantMessages {
            server,
            caller,
            name,
            verdict,
            rule,
            decision,
            since: _,
            until: _,
        } = self.0;
        let mut filter = AuditFilter::default();
        if let Some(server) = server.as_deref() {
            filter = filter.server(server);
        }
        if let Some(caller) = caller.as_deref() {
            filter = filter.caller(caller);
        }
        if let Some(name) = name.as_deref() {
            filter = filter.name(name);
        }
        if let Some(Ok(verdict)) = verdict.as_deref().map(str::parse) {
            filter = filter.verdict(verdict);
        }
        if let Some(rule) = rule.as_deref() {
            filter = filter.rule(rule);
        }
        if let Some(decision) = decision.as_deref() {
            filter = filter.decision(decision);
        }
        filter
    }

    pub(crate) fn is(&self, message: &Message) -> bool {
        let said = self.0;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        let names = [message.name(), message.inner()];
        let is_below = |place: &str| {
            let rest = message.rule().strip_prefix(place);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_id = |id: &str| message.id().eq_ignore_ascii_case(id);
        is(&said.server, message.server())
            && is(&said.caller, message.caller())
            && names.into_iter().any(|name| is(&said.name, name))
            && is(&said.verdict, Some(message.verdict()))
            && said.rule.as_deref().is_none_or(is_below)
            && said.decision.as_deref().is_none_or(is_id)
            && said.since.is_none_or(|since| message.time() >= since)
            && said.until.is_none_or(|until| message.time() < until)
    }
}

fn system(time: Timestamp) -> SystemTime {
    // What this system cannot tell is long ago.
    time.try_into().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A time, a day, or how long ago something was.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    for time in [text, &format!("{text}T00:00:00Z")] {
        if let Ok(time) = time.parse() {
            return Ok(time);
        }
    }
    let ago = ago(text).filter(|ago| !ago.is_negative());
    ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or_else(|| {
            "expected a time like 2026-11-24T22:10:00Z, a day, or 15m, 2h, 7d".to_owned()
        })
}

fn ago(text: &str) -> Option<SignedDuration> {
    let span = text.parse::<Span>().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        let is = |text: &str| moment(text).map(|time| time.to_string());
        assert_eq!(
            is("2026-11-24T22:10:00+01:00").unwrap(),
            "2026-11-24T21:10:00Z"
        );
        assert_eq!(is("2026-11-24").unwrap(), "2026-11-24T00:00:00Z");
        for (text, seconds) in [
            ("15m", 900),
            ("2h", 7_200),
            ("7d", 604_800),
            ("1h30m", 5_400),
        ] {
            let then = moment(text).unwrap();
            let ago = Timestamp::now().duration_since(then);
            assert!((seconds..seconds + 60).contains(&ago.as_secs()), "{text}");
        }
        for text in ["", "yesterday", "-2h", "1y", "2026-11-24T22:10:00"] {
            assert!(is(text).is_err(), "{text}: {:?}", is(text));
        }
    }
}

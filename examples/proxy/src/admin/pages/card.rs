//! How a page shows a request.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mcp_policy::{ApprovalRequest, ApprovalState};

use super::{super::view::decider, sessions::Visitor};
use crate::json_text::{beginning_indented, visible};

/// Characters that a request has room for among others; all of it is on a page of its own.
const SHORT: usize = 2_000;

/// A request, without anything in it that could fool a reader. That it is HTML then is
/// the template's business.
pub(super) struct Card<'a> {
    pub(super) id: String,
    pub(super) state: &'static str,
    pub(super) is_pending: bool,
    /// Whether it is known what it was called with.
    pub(super) is_open: bool,
    /// Whether whoever looks may see that, and decide.
    pub(super) is_theirs: bool,
    pub(super) kind: &'a str,
    pub(super) name: String,
    pub(super) server: String,
    pub(super) caller: String,
    pub(super) reason: Option<String>,
    pub(super) rules: Vec<String>,
    pub(super) arguments: Option<String>,
    pub(super) others: Option<String>,
    /// Whether there is more than is shown: then nobody decides here.
    pub(super) is_cut: bool,
    pub(super) created: Time,
    pub(super) expires: Time,
    pub(super) decided_by: Option<String>,
    pub(super) note: Option<String>,
}

impl<'a> Card<'a> {
    /// All of it.
    pub(super) fn whole(request: &'a ApprovalRequest, visitor: &Visitor) -> Self {
        Self::of(request, visitor, usize::MAX)
    }

    /// As much as there is room for among others.
    pub(super) fn short(request: &'a ApprovalRequest, visitor: &Visitor) -> Self {
        Self::of(request, visitor, SHORT)
    }

    fn of(request: &'a ApprovalRequest, visitor: &Visitor, most: usize) -> Self {
        let now = SystemTime::now();
        let mut is_cut = false;
        let mut fit = |text: &str| {
            let end = text.char_indices().nth(most).map(|(end, _)| end);
            is_cut |= end.is_some();
            match end.and_then(|end| text.get(..end)) {
                Some(beginning) => format!("{beginning}…"),
                None => text.to_owned(),
            }
        };
        // One more than there is room for tells that there is more.
        let lines = |text: &str| beginning_indented(text, most.saturating_add(1));
        let is_theirs = visitor.decides();
        let arguments = request.arguments().filter(|_| is_theirs);
        let others = request.others().filter(|_| is_theirs);
        Self {
            id: request.id().to_string(),
            state: request.state().as_str(),
            is_pending: is_pending(request),
            is_open: request.state().is_open(),
            is_theirs,
            kind: match request.method() {
                "tools/call" => "Tool",
                "prompts/get" => "Prompt",
                "resources/read" => "Resource",
                other => other,
            },
            name: fit(&visible(request.name())),
            server: visible(request.server()),
            caller: visible(request.caller()),
            reason: request.reason().map(visible),
            rules: request.rules().map(visible).collect(),
            arguments: arguments.map(|arguments| fit(&lines(arguments.text()))),
            others: others.map(|others| fit(&lines(others))),
            created: Time::of(request.created_at(), now),
            expires: Time::of(request.expires_at(), now),
            decided_by: decider(request).map(visible),
            note: request.note().map(visible),
            is_cut,
        }
    }
}

pub(super) fn is_pending(request: &ApprovalRequest) -> bool {
    request.state() == ApprovalState::Pending
}

/// When something is or was.
pub(super) struct Time {
    /// In UTC.
    pub(super) exact: String,
    /// From now on.
    pub(super) relative: String,
}

impl Time {
    pub(super) fn of(time: SystemTime, now: SystemTime) -> Self {
        let exact = Timestamp::try_from(time);
        let relative = match (time.duration_since(now), now.duration_since(time)) {
            (Ok(ahead), _) => format!("in {}", rough(ahead)),
            (_, Ok(past)) => format!("{} ago", rough(past)),
            _ => String::new(),
        };
        Self {
            exact: exact.map_or_else(|_| String::new(), |exact| format!("{exact:.0}")),
            relative,
        }
    }
}

fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_do() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (seconds, ahead, past) in [
            (0, "in 0 s", "in 0 s"),
            (119, "in 119 s", "119 s ago"),
            (600, "in 10 min", "10 min ago"),
            (7_200, "in 2 h", "2 h ago"),
            (200_000, "in 2 days", "2 days ago"),
        ] {
            let by = Duration::from_secs(seconds);
            assert_eq!(Time::of(now + by, now).relative, ahead);
            assert_eq!(Time::of(now - by, now).relative, past);
        }
        assert_eq!(Time::of(now, now).exact, "1970-01-12T13:46:40Z");
    }
}

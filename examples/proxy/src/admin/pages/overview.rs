//! What there is, what happens, and what has changed.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use askama::Template;
use form_urlencoded::byte_serialize;
use http::StatusCode;
use jiff::Timestamp;
use mcp_policy::{ApprovalState, Verdict};

use super::super::{
    api::Refusal,
    news::Event,
    recent::{Counts, Message, Minute, minute},
};
use super::{
    Page, Pages,
    card::Time,
    chart::{Chart, Series, Span},
    form::Form,
    frame::{Frame, Here},
    sessions::Visitor,
};
use crate::{
    json_text::{beginning, beginning_in_lines, visible},
    page,
    running::{Now, PolicyNow, ServerNow, policy_id},
};

/// Servers, refusals and changes that are shown.
const MOST_SERVERS: usize = 200;
const MOST_REFUSALS: usize = 10;
const MOST_CHANGES: usize = 15;
/// Policies and grants of one server that are named.
const MOST_POLICIES: usize = 10;
const MOST_GRANTS: usize = 5;
/// Characters of a name from outside.
const NAME: usize = 100;
/// Characters of what is wrong with the configuration.
const TROUBLE: usize = 20_000;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    frame: Frame<'a>,
    config: Option<String>,
    trouble: Option<String>,
    lets_nobody_in: bool,
    /// The command that ends a lockdown.
    unlock: String,
    /// What is locked, and the file that says so.
    locked: Option<(String, String)>,
    waiting: usize,
    hour: Figures,
    day: Figures,
    chart: Chart,
    is_of_the_day: bool,
    servers: Vec<ServerRow>,
    more_servers: usize,
    refusals: Vec<Refused>,
    changes: Vec<Changed>,
}

/// How much was decided in a time.
struct Figures {
    /// Which time that is.
    time: String,
    calls: u64,
    refused: u64,
}

struct ServerRow {
    name: String,
    /// As it is in a query.
    encoded: String,
    reach: String,
    /// How many tools it has, if it was asked.
    tools: Option<usize>,
    policies: Vec<PolicyLink>,
    more_policies: usize,
    access: String,
}

struct PolicyLink {
    id: String,
    /// The file, and all of its path.
    name: String,
    path: String,
}

struct Refused {
    id: String,
    at: Time,
    verdict: &'static str,
    name: String,
    server: String,
    caller: String,
    rule: String,
}

struct Changed {
    at: Time,
    by: Option<String>,
    text: String,
}

/// What is counted, from the bottom of a column to its top.
fn series() -> Vec<Series> {
    let series = [
        ("allowed", "allowed"),
        ("asked for approval", "waiting"),
        ("over a limit", "limited"),
        ("refused", "refused"),
        ("failed", "failed"),
    ];
    let series = series.map(|(name, class)| Series { name, class });
    series.into()
}

impl Pages {
    pub(super) async fn overview(&self, visitor: &Visitor, query: &Form) -> Result<Page, Refusal> {
        let waiting = self.approvals.list(&[ApprovalState::Pending]).await?;
        let now = self.now().await?;
        let time = SystemTime::now();
        let minutes = self.told.recent.minutes();
        let is_of_the_day = query.get("over") == "day";
        let servers = now.servers.iter().take(MOST_SERVERS);
        let servers = servers.map(|server| self.server_row(server, &now));
        let messages = self.told.recent.messages();
        let refused = messages.iter().filter(|message| is_refused(message));
        let locks = now.lockdown.as_ref();
        let locks = locks.filter(|(_, locks)| !locks.is_nothing());
        let trouble = now.trouble.as_deref();
        let overview = Overview {
            config: now
                .config
                .as_ref()
                .map(|path| visible(&path.to_string_lossy())),
            trouble: trouble.map(|text| beginning_in_lines(text, TROUBLE)),
            lets_nobody_in: now.lets_nobody_in,
            unlock: unlock(now.config.as_deref()),
            locked: locks
                .map(|(path, locks)| (visible(&locks.told()), visible(&path.to_string_lossy()))),
            waiting: waiting.len(),
            hour: self.figures(&minutes, time, 60, "hour"),
            day: self.figures(&minutes, time, 24 * 60, "day"),
            chart: chart(&minutes, time, is_of_the_day),
            is_of_the_day,
            servers: servers.collect(),
            more_servers: now.servers.len().saturating_sub(MOST_SERVERS),
            refusals: refused
                .take(MOST_REFUSALS)
                .map(|message| Refused::of(message, time))
                .collect(),
            changes: self
                .told
                .news
                .lately()
                .iter()
                .take(MOST_CHANGES)
                .map(|event| Changed::of(event, time))
                .collect(),
            frame: Frame::new(visitor, Here::Overview),
        };
        Ok(page::html(StatusCode::OK, &overview))
    }

    fn figures(&self, minutes: &[Minute], now: SystemTime, span: u64, name: &str) -> Figures {
        let first = minute(now).saturating_sub(span.saturating_sub(1));
        let those = minutes.iter().filter(|minute| minute.number >= first);
        let [calls, refused] = those.fold([0_u64; 2], |[calls, refused], minute| {
            let [allowed, waited, others @ ..] = counts(&minute.counts);
            let others = others.into_iter().fold(0, u64::saturating_add);
            let all = others.saturating_add(allowed).saturating_add(waited);
            [calls.saturating_add(all), refused.saturating_add(others)]
        });
        let is_whole = now
            .duration_since(self.begun)
            .is_ok_and(|since| since >= Duration::from_secs(span.saturating_mul(60)));
        let time = match is_whole {
            true => format!("in the last {name}"),
            false => format!("since {} UTC", clock(self.begun)),
        };
        Figures {
            time,
            calls,
            refused,
        }
    }

    fn server_row(&self, server: &ServerNow, now: &Now) -> ServerRow {
        let holds = |policy: &&PolicyNow| policy.uses.iter().any(|one| one.server == server.name);
        let policies: Vec<_> = now.policies.iter().filter(holds).collect();
        let shown = policies.iter().take(MOST_POLICIES);
        ServerRow {
            name: beginning(&server.name, NAME),
            encoded: byte_serialize(server.name.as_bytes()).collect(),
            reach: beginning(&server.reach.told(), NAME),
            tools: self
                .told
                .known
                .of(&server.name)
                .map(|offered| offered.tools.definitions.len()),
            policies: shown.map(|policy| PolicyLink::to(policy)).collect(),
            more_policies: policies.len().saturating_sub(MOST_POLICIES),
            access: access(server, now),
        }
    }
}

/// The command that ends a lockdown of everything.
fn unlock(config: Option<&Path>) -> String {
    let path = config.map(|path| visible(&path.to_string_lossy()));
    let path = path.unwrap_or_else(|| "FILE".to_owned());
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
    let path = match path.chars().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    };
    format!("mcp-policy-proxy lockdown off --config {path}")
}

/// Who may use a server.
fn access(server: &ServerNow, now: &Now) -> String {
    if server.is_issued {
        return "Whoever has a token of its issuer".to_owned();
    }
    let uses = now.policies.iter().flat_map(|policy| &policy.uses);
    let mut uses = uses.filter(|one| one.server == server.name);
    if uses.any(|one| one.grant.is_none()) {
        return "Everybody".to_owned();
    }
    let grants = now.grants.iter();
    let grants = grants.filter(|grant| grant.server == server.name && !grant.is_revoked);
    let labels: Vec<_> = grants.map(|grant| beginning(&grant.label, NAME)).collect();
    let named = labels.get(..MOST_GRANTS).unwrap_or(&labels).join(", ");
    match labels.len().saturating_sub(MOST_GRANTS) {
        _ if labels.is_empty() => "Nobody: it has no grants".to_owned(),
        0 => format!("Grants: {named}"),
        more => format!("Grants: {named} and {more} more"),
    }
}

impl PolicyLink {
    fn to(policy: &PolicyNow) -> Self {
        let name = policy.path.file_name().unwrap_or_default();
        Self {
            id: policy_id(&policy.path),
            name: beginning(&name.to_string_lossy(), NAME),
            path: visible(&policy.path.to_string_lossy()),
        }
    }
}

impl Refused {
    fn of(message: &Message, now: SystemTime) -> Self {
        let decision = &message.decision;
        let name = decision.name().or(decision.method()).unwrap_or_default();
        Self {
            id: decision.id().to_string(),
            at: Time::of(decision.time(), now),
            verdict: decision.verdict().as_str(),
            name: beginning(name, NAME),
            server: beginning(decision.server().unwrap_or_default(), NAME),
            caller: beginning(decision.caller().unwrap_or_default(), NAME),
            rule: beginning(decision.rule(), 2 * NAME),
        }
    }
}

impl Changed {
    fn of(event: &Event, now: SystemTime) -> Self {
        Self {
            at: Time::of(event.at, now),
            by: event.by.as_deref().map(visible),
            text: visible(&event.text),
        }
    }
}

fn is_refused(message: &Message) -> bool {
    !matches!(
        message.decision.verdict(),
        Verdict::Allowed | Verdict::Waiting
    )
}

/// The same order as [`series`].
fn counts(counts: &Counts) -> [u64; 5] {
    [
        counts.allowed,
        counts.waited,
        counts.limited,
        counts.refused,
        counts.failed,
    ]
    .map(u64::from)
}

/// The minutes of the last hour, or the quarters of the hours of the last day.
fn chart(minutes: &[Minute], now: SystemTime, is_of_the_day: bool) -> Chart {
    let (spans, length, title) = match is_of_the_day {
        true => (
            96,
            15,
            "Calls in each quarter of an hour of the last day (UTC)",
        ),
        false => (60, 1, "Calls in each minute of the last hour (UTC)"),
    };
    let last = minute(now) / length;
    let first = last.saturating_sub(spans - 1);
    let spans = (first..=last).map(|place| {
        let those = minutes
            .iter()
            .filter(|minute| minute.number / length == place);
        let mut sums = [0_u64; 5];
        for minute in those {
            for (sum, count) in sums.iter_mut().zip(counts(&minute.counts)) {
                *sum = sum.saturating_add(count);
            }
        }
        let seconds = place.saturating_mul(length).saturating_mul(60);
        Span {
            label: clock(UNIX_EPOCH + Duration::from_secs(seconds)),
            counts: sums.into(),
        }
    });
    Chart::of(title.to_owned(), series(), spans.collect())
}

/// Hours and minutes.
fn clock(time: SystemTime) -> String {
    let time = Timestamp::try_from(time);
    time.map_or_else(|_| String::new(), |time| time.strftime("%H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_on_a_page_is_one_that_there_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("mcp-policy "), "{}", path.display());
        }
        let command = unlock(Some(Path::new("/etc/it's mine/g.toml")));
        let expected = r"mcp-policy-proxy lockdown off --config '/etc/it'\''s mine/g.toml'";
        assert_eq!(command, expected);
    }

    #[test]
    fn a_chart_covers_its_time_and_nothing_more() {
        let counts = Counts {
            allowed: 1,
            ..Counts::default()
        };
        let now = UNIX_EPOCH + Duration::from_secs(10_000 * 60);
        let minute = |number| Minute { number, counts };
        // The last hour begins with minute 9941, the last day with quarter 571.
        let minutes = [8_564, 8_565, 9_940, 9_941, 10_000].map(minute);
        let told = |is_of_the_day| {
            let html = chart(&minutes, now, is_of_the_day).render().unwrap();
            html.matches(" allowed</title>").count()
        };
        assert_eq!(told(false), 2);
        assert_eq!(told(true), 3);
    }
}

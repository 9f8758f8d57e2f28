//! What was decided: [`records`] is where that is found, [`one`] why one of it was decided
//! so, and [`place`] what the policy says there.

mod one;
mod place;
mod records;

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;
use mcp_policy::Verdict;

pub(super) use self::records::Records;
use self::records::{From, Row};
use super::{
    super::api::Refusal,
    Page, Pages,
    form::Form,
    frame::{Frame, Here},
    sessions::Visitor,
    words::{link, short},
};
use crate::{audit::meant::MeantMessages, audit::meant::moment, json_text::visible, page};

const PATH: &str = "/log";

/// Messages on a page.
const PER_PAGE: usize = 100;

#[derive(Template)]
#[template(path = "log.html")]
struct Log<'a> {
    frame: Frame<'a>,
    said: Said,
    verdicts: Vec<Choice>,
    wrong: Option<String>,
    /// Whether it shows what is decided from now on.
    is_live: bool,
    is_in_a_file: bool,
    is_filtered: bool,
    rows: Vec<Line>,
    newer: Option<String>,
    older: Option<String>,
}

/// What somebody looks for, as they have typed it.
#[derive(Default)]
struct Said {
    server: String,
    caller: String,
    name: String,
    verdict: String,
    rule: String,
    since: String,
    until: String,
}

struct Choice {
    word: &'static str,
    is_chosen: bool,
}

/// A message.
struct Line {
    id: String,
    time: Time,
    server: String,
    caller: String,
    /// How it is about what it is about, unless that is a call of a tool.
    how: Option<String>,
    name: Option<String>,
    inner: Option<String>,
    verdict: String,
    rule: String,
    shadow: Option<String>,
    ending: Option<(String, String)>,
    decided_by: Option<String>,
}

/// When something was, in UTC.
struct Time {
    exact: String,
    day: String,
    clock: String,
}

impl Time {
    fn of(time: Timestamp) -> Self {
        Self {
            exact: format!("{time:.3}"),
            day: time.strftime("%Y-%m-%d").to_string(),
            clock: time.strftime("%H:%M:%S%.3f").to_string(),
        }
    }
}

impl Pages {
    pub(super) async fn log(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        match path
            .strip_prefix(PATH)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(id) => self.explained(visitor, id).await,
            None => self.recorded(visitor, query).await,
        }
    }

    async fn recorded(&self, visitor: &Visitor, query: &Form) -> Result<Page, Refusal> {
        let said = Said::of(query);
        let (found, wrong) = match said.meant() {
            Ok(meant) => (self.found(meant, beginning(query)).await?, None),
            Err(wrong) => (Found::default(), Some(wrong)),
        };
        let numbers = found.rows.first().zip(found.rows.last());
        let numbers = numbers.map(|(first, last)| (first.number, last.number));
        let newer = numbers.filter(|_| found.has_newer);
        let older = numbers.filter(|_| found.has_older);
        let log = Log {
            frame: Frame::new(visitor, Here::Log),
            verdicts: said.verdicts(),
            is_live: !found.has_newer && said.until.is_empty() && wrong.is_none(),
            is_in_a_file: self.records.are_in_a_file(),
            is_filtered: said.fields().iter().any(|(_, value)| !value.is_empty()),
            newer: newer.map(|(first, _)| said.link("after", first)),
            older: older.map(|(_, last)| said.link("before", last)),
            rows: found.rows.iter().map(Line::of).collect(),
            said,
            wrong,
        };
        Ok(page::html(StatusCode::OK, &log))
    }

    async fn found(&self, meant: MeantMessages, from: From) -> Result<Found, Refusal> {
        // One more tells whether there are more.
        let most = PER_PAGE.saturating_add(1);
        if let From::After(_) = from {
            let mut rows = self.records.page(meant.clone(), from, most).await?;
            if rows.len() > PER_PAGE {
                rows.truncate(PER_PAGE);
                rows.reverse();
                return Ok(Found {
                    rows,
                    has_newer: true,
                    has_older: true,
                });
            }
        }
        // Nothing is newer than a whole page, so that it is the first.
        let from = match from {
            From::Before(number) => From::Before(number),
            From::Newest | From::After(_) => From::Newest,
        };
        let mut rows = self.records.page(meant, from, most).await?;
        let has_older = rows.len() > PER_PAGE;
        rows.truncate(PER_PAGE);
        Ok(Found {
            rows,
            has_newer: from != From::Newest,
            has_older,
        })
    }
}

/// A page of messages, the newest first.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    has_newer: bool,
    has_older: bool,
}

fn beginning(query: &Form) -> From {
    let number = |name| query.get(name).parse().ok();
    match (number("before"), number("after")) {
        (Some(number), _) => From::Before(number),
        (None, Some(number)) => From::After(number),
        (None, None) => From::Newest,
    }
}

impl Said {
    fn of(query: &Form) -> Self {
        let text = |name| query.get(name).trim().to_owned();
        Self {
            server: text("server"),
            caller: text("caller"),
            name: text("name"),
            verdict: text("verdict"),
            rule: text("rule"),
            since: text("since"),
            until: text("until"),
        }
    }

    fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("server", &self.server),
            ("caller", &self.caller),
            ("name", &self.name),
            ("verdict", &self.verdict),
            ("rule", &self.rule),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    /// The same for whoever looks, or what is wrong with it.
    fn meant(&self) -> Result<MeantMessages, String> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let time = |name, said: &String| match text(said) {
            Some(said) => {
                let time = moment(&said);
                time.map(Some).map_err(|wrong| format!("{name}: {wrong}."))
            }
            None => Ok(None),
        };
        let verdict = text(&self.verdict);
        if verdict
            .as_deref()
            .is_some_and(|word| word.parse::<Verdict>().is_err())
        {
            return Err("There is no such verdict.".to_owned());
        }
        Ok(MeantMessages {
            server: text(&self.server),
            caller: text(&self.caller),
            name: text(&self.name),
            verdict,
            rule: text(&self.rule),
            decision: None,
            since: time("Since", &self.since)?,
            until: time("Until", &self.until)?,
        })
    }

    fn verdicts(&self) -> Vec<Choice> {
        let choices = Verdict::ALL.map(Verdict::as_str).map(|word| Choice {
            word,
            is_chosen: word == self.verdict,
        });
        choices.into()
    }

    /// Another page of the same.
    fn link(&self, name: &'static str, number: u64) -> String {
        let number = number.to_string();
        let mut fields = self.fields().to_vec();
        fields.push((name, &number));
        link(PATH, &fields)
    }

    /// For the template: the first page of the same.
    fn newest(&self) -> String {
        link(PATH, &self.fields())
    }

    /// For the template: as much of it as can be seen.
    fn shown(&self, text: &str) -> String {
        visible(text)
    }
}

impl Line {
    fn of(row: &Row) -> Self {
        let message = &row.message;
        let details = message.details();
        let or_none = |name: Option<&str>| name.map_or_else(|| "–".to_owned(), short);
        let how = message.how();
        let shadow = details.shadow_verdict.as_deref();
        let ending = message.outcome();
        Self {
            id: visible(message.id()),
            time: Time::of(message.time()),
            server: or_none(message.server()),
            caller: or_none(message.caller()),
            how: (how != "tools/call").then(|| short(how)),
            name: message.name().map(short),
            inner: message.inner().map(short),
            verdict: short(message.verdict()),
            rule: short(message.rule()),
            shadow: shadow.map(short),
            ending: ending.map(|ending| (short(&ending.ending), ending.latency())),
            decided_by: details.decided_by.as_deref().map(short),
        }
    }
}

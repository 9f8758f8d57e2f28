//! Limits that are in use.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Body;
use mcp_policy::{Amount, LimitFilter, LimitUsage, StoreError};
use tokio::time::timeout;
use tower::BoxError;

use super::super::{
    api::{self, Refusal},
    roles::Power,
};
use super::{
    Page, Pages,
    form::Form,
    frame::{Frame, Here},
    see,
    sessions::Visitor,
    words::{link, short},
};
use crate::{
    json_text::{one_line, visible},
    page,
    state::{Counted, MeantBudgets, order},
};

const PATH: &str = "/limits";
const RESET: &str = "/limits/reset";

/// Budgets on a page.
const MOST_SHOWN: usize = 500;

/// Budgets that are asked for, to show the first of them.
const MOST_READ: usize = 10_000;

/// How long whoever counts is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Template)]
#[template(path = "limits.html")]
struct Limits<'a> {
    frame: Frame<'a>,
    said: Said,
    /// Whether that is known here.
    is_known: bool,
    rows: Vec<Row>,
    /// How many there are, if they are not all shown.
    more: Option<String>,
    /// The filter as a form says it, for whoever forgets all of that.
    all: String,
}

#[derive(Template)]
#[template(path = "limits_reset.html")]
struct Reset<'a> {
    frame: Frame<'a>,
    said: Said,
    /// How many budgets that are now.
    count: String,
    all: String,
}

/// What somebody looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    server: Option<String>,
    policy: Option<String>,
    rule: Option<String>,
    caller: Option<String>,
}

/// A budget.
struct Row {
    server: String,
    caller: String,
    session: Option<String>,
    rule: String,
    policy: Option<String>,
    used: String,
    max: String,
    free_in: String,
    /// Of a hundred.
    filled: u8,
    /// `full`, `filling` or nothing.
    state: &'static str,
    /// It alone, as a form says that.
    only: String,
}

impl Pages {
    pub(super) async fn limits(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        if path == RESET {
            return Err(Refusal::wrong_method(Method::POST));
        }
        if path != PATH {
            return Err(api::nothing_here());
        }
        let said = Said::of_query(query);
        let mut found = match &self.told.counted {
            Some(counted) => used(counted, &said).await?,
            None => Vec::new(),
        };
        let all = found.len();
        found.truncate(MOST_SHOWN);
        let more = (all > MOST_SHOWN).then(|| told(all));
        let limits = Limits {
            frame: Frame::new(visitor, Here::Limits),
            is_known: self.told.counted.is_some(),
            rows: found.iter().map(Row::of).collect(),
            more,
            all: said.to_field(),
            said,
        };
        Ok(page::html(StatusCode::OK, &limits))
    }

    /// Forgets what is counted: one budget at once, all that are meant when that is said
    /// twice.
    pub(super) async fn change_limits<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        if request.uri().path() != RESET {
            return Err(api::nothing_here());
        }
        let (visitor, form) = self.signed_by(Power::Govern, request).await?;
        let Some(counted) = &self.told.counted else {
            return Err(api::nothing_here());
        };
        let said = Said::of_field(&form.get("what")).ok_or_else(|| {
            let text = "Nothing was done: nobody knows what is meant. Load the page again.";
            Refusal::new(StatusCode::BAD_REQUEST, text)
        })?;
        if form.get("sure") != "yes" {
            let count = used(counted, &said).await?.len();
            let reset = Reset {
                frame: Frame::new(&visitor, Here::Limits),
                count: told(count),
                all: said.to_field(),
                said,
            };
            return Ok(page::html(StatusCode::OK, &reset));
        }
        within(counted.reset(&said.filter())).await?;
        let Said {
            server,
            policy,
            rule,
            caller,
        } = &said;
        let operator = &*visitor.operator;
        tracing::info!(
            operator,
            ?server,
            ?policy,
            ?rule,
            ?caller,
            "forgot what limits had counted"
        );
        self.tell(&visitor, "What some limits had counted was forgotten");
        Ok(see(&form_of(&form.get("back")).path()))
    }
}

/// How many there are, as far as that is known.
fn told(count: usize) -> String {
    match count {
        ..=MOST_READ => count.to_string(),
        _ => format!("more than {MOST_READ}"),
    }
}

/// What is counted, of what is meant, in the order in which it is shown.
async fn used(counted: &Counted, said: &Said) -> Result<Vec<LimitUsage>, Refusal> {
    let most = MOST_READ.saturating_add(1);
    let mut found = within(counted.usage(&said.filter(), most)).await?;
    found.sort_by(|one, other| order(one).cmp(&order(other)));
    Ok(found)
}

async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Refusal> {
    let why = match timeout(PATIENCE, asked).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "whoever counts does not answer".to_owned(),
    };
    let text = format!("What is counted is not known now: {why}. Try again.");
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
}

/// What was looked for on the page that somebody comes from.
fn form_of(field: &str) -> Said {
    Said::of_field(field).unwrap_or_default()
}

impl Said {
    fn of_query(query: &Form) -> Self {
        let text = |name| {
            let text = query.get(name).trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        Self {
            server: text("server"),
            policy: text("policy"),
            rule: text("rule"),
            caller: text("caller"),
        }
    }

    /// A budget alone. Those of a session are forgotten together.
    fn of_usage(usage: &LimitUsage) -> Self {
        Self {
            server: Some(usage.server().to_owned()),
            policy: Some(usage.policy().to_owned()),
            rule: Some(usage.place().to_owned()),
            caller: usage.caller().map(str::to_owned),
        }
    }

    /// As it is in a field of a form, in which a browser would change some characters.
    fn to_field(&self) -> String {
        let Self {
            server,
            policy,
            rule,
            caller,
        } = self;
        // Texts cannot fail to serialise.
        let text = serde_json::to_string(&[server, policy, rule, caller]);
        one_line(&text.unwrap_or_default())
    }

    fn of_field(text: &str) -> Option<Self> {
        let [server, policy, rule, caller] = serde_json::from_str(text).ok()?;
        Some(Self {
            server,
            policy,
            rule,
            caller,
        })
    }

    fn filter(&self) -> LimitFilter {
        MeantBudgets {
            server: self.server.as_deref(),
            policy: self.policy.as_deref(),
            rule: self.rule.as_deref(),
            caller: self.caller.as_deref(),
        }
        .as_filter()
    }

    /// The page on which that is shown.
    fn path(&self) -> String {
        let fields = [
            ("server", &self.server),
            ("policy", &self.policy),
            ("rule", &self.rule),
            ("caller", &self.caller),
        ];
        let fields = fields.map(|(name, value)| (name, value.as_deref().unwrap_or_default()));
        link(PATH, &fields)
    }

    /// For templates: whether everything is meant.
    fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// For templates: as much of it as can be seen.
    fn shown(&self, text: &Option<String>) -> String {
        visible(text.as_deref().unwrap_or_default())
    }

    /// For templates: the same, not too long.
    fn short(&self, text: &str) -> String {
        short(text)
    }
}

impl Row {
    fn of(usage: &LimitUsage) -> Self {
        let (used, max) = (usage.used(), usage.max());
        let filled = filled(used, max);
        let state = match filled {
            100 => "full",
            80.. => "filling",
            _ => "",
        };
        let free_in = usage.free_in();
        Self {
            server: match usage.server() {
                "" => "–".to_owned(),
                server => short(server),
            },
            caller: usage
                .caller()
                .map_or_else(|| "all together".to_owned(), short),
            session: usage.session().map(short),
            rule: short(usage.place()),
            policy: match usage.policy() {
                "" => None,
                policy => Some(short(policy)),
            },
            used: used.to_string(),
            max: max.to_string(),
            free_in: free_in.map_or_else(|| "when it ends".to_owned(), rough),
            filled,
            state,
            only: Said::of_usage(usage).to_field(),
        }
    }
}

/// How much of a hundred that is: a hundred only if nothing is left.
fn filled(used: Amount, max: Amount) -> u8 {
    let number = |amount: Amount| amount.to_string().parse::<f64>().unwrap_or_default();
    if used >= max {
        return 100;
    }
    let part = (number(used) / number(max) * 100.0).floor();
    // It is less than a hundred by now, and not less than nothing.
    (0..100)
        .rev()
        .find(|&whole| f64::from(whole) <= part)
        .unwrap_or(0)
}

/// A time as people say it.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil();
    match time.as_secs() {
        0..120 => format!("{seconds} s"),
        minutes @ 120..7_200 => format!("{} min", minutes.div_ceil(60)),
        hours @ 7_200..172_800 => format!("{} h", hours.div_ceil(3_600)),
        days => format!("{} days", days.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_full_only_if_nothing_is_left() {
        for (used, max, expected) in [
            (0, 10, 0),
            (1, 3, 33),
            (999, 1_000, 99),
            (10, 10, 100),
            (11, 10, 100),
            (0, 0, 100),
        ] {
            let found = filled(Amount::from(used), Amount::from(max));
            assert_eq!(found, expected, "{used} of {max}");
        }
    }

    #[test]
    fn what_is_meant_comes_back_as_it_was() {
        let said = Said {
            server: Some(String::new()),
            policy: None,
            rule: Some("/tools/a\r\n\"<b>\u{202e}".to_owned()),
            caller: Some("\0".to_owned()),
        };
        let field = said.to_field();
        assert!(field.chars().all(|c| (' '..='~').contains(&c)), "{field}");
        assert_eq!(Said::of_field(&field), Some(said));
        for other in ["", "[]", "{}", "[1,null,null,null]", "[null]"] {
            assert_eq!(Said::of_field(other), None, "{other}");
        }
        assert_eq!(Said::default().path(), "/limits");
    }
}

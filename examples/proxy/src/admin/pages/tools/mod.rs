//! Everything that an agent can call: the tools of all servers, how dangerous they are, and
//! what becomes of a call of each of them.
//!
//! [`wanted`] is what of it somebody wants to see, [`mod@row`] how a tool is shown, and
//! [`verdict`] what the policies say of it.

mod row;
mod verdict;
mod wanted;

use std::{cmp::Reverse, sync::Arc, time::SystemTime};

use askama::Template;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Body;
use mcp_policy::{RiskCategory, RiskSeverity, ToolDefinition};
use serde_json::Value;
use tower::BoxError;

use self::{
    row::{Beside, Row},
    verdict::{Front, Kind},
    wanted::Wanted,
};
use super::super::{
    Told,
    api::{self, Refusal},
    known::{Answered, Offered, Standing},
    roles::Power,
};
use super::{
    Page, Pages,
    card::Time,
    could_not_be_made,
    form::Form,
    frame::{Frame, Here},
    see,
    sessions::Visitor,
};
use crate::{
    json_text::beginning,
    names::count,
    page,
    running::{Now, ServerNow},
};

const PATH: &str = "/tools";
const ASK: &str = "/tools/ask";

/// Tools on a page, and all that are looked through.
const ON_A_PAGE: usize = 200;
const MOST_TOOLS: usize = 20_000;
/// Servers that are told of.
const MOST_SERVERS: usize = 200;
/// Characters of a name from outside.
const NAME: usize = 100;

#[derive(Template)]
#[template(path = "tools.html")]
struct Tools<'a> {
    frame: Frame<'a>,
    shown: Shown,
}

/// What the page says, whoever looks at it.
struct Shown {
    servers: Vec<ServerRow>,
    more_servers: usize,
    is_asking: bool,
    summary: Summary,
    /// How many tools are wanted; of those some are on this page.
    found: usize,
    rows: Vec<Row>,
    wanted: Wanted,
    server_choices: Vec<Choice>,
    risk_choices: Vec<Choice>,
    verdict_choices: Vec<Choice>,
    first: usize,
    last: usize,
    before: Option<String>,
    after: Option<String>,
}

/// How many tools there are.
struct Summary {
    all: usize,
    /// Of each severity, and of each verdict for somebody.
    severities: Vec<(&'static str, usize)>,
    verdicts: Vec<(Choice, usize)>,
    /// With a warning about their definition.
    warned: usize,
    /// Those for which there is no room.
    left_out: usize,
}

struct ServerRow {
    name: String,
    reach: String,
    is_asked: bool,
    trouble: Option<String>,
    /// What it offers, and when it said so.
    offers: Option<(String, Time)>,
    /// Policies that are not asked about its tools, because there are too many.
    unasked: usize,
}

/// A value of a filter.
#[derive(Clone)]
struct Choice {
    value: String,
    text: String,
    is_chosen: bool,
}

/// A tool among all others.
struct Found<'a> {
    server: usize,
    place: usize,
    name: &'a str,
    description: &'a str,
    risk: RiskCategory,
    is_warned: bool,
    kinds: Vec<Kind>,
}

/// A server with what it offers, and what is in front of it.
struct Source<'n> {
    server: &'n ServerNow,
    offered: &'n Offered,
    fronts: &'n [Front<'n>],
}

impl Pages {
    pub(super) async fn tools(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        match path {
            PATH => {}
            ASK => return Err(Refusal::wrong_method(Method::POST)),
            _ => return Err(api::nothing_here()),
        }
        let now = self.now().await?;
        self.told.known.look(&now.servers);
        let (told, wanted) = (self.told.clone(), Wanted::of(query));
        // It is never closed.
        let turn = Arc::clone(&self.looking).acquire_owned().await.ok();
        let visitor = visitor.clone();
        // There may be many tools. What nobody waits for any more has its turn until it ends.
        let page = tokio::task::spawn_blocking(move || {
            let frame = Frame::new(&visitor, Here::Tools);
            let shown = shown(&told, &now, wanted);
            let page = page::html(StatusCode::OK, &Tools { frame, shown });
            drop(turn);
            page
        });
        page.await.map_err(|_| could_not_be_made())
    }

    pub(super) async fn change_tools<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        match request.uri().path() {
            ASK => {}
            PATH => return Err(Refusal::wrong_method(Method::GET)),
            _ => return Err(api::nothing_here()),
        }
        let (visitor, _) = self.signed_by(Power::ChangePolicies, request).await?;
        self.told.known.look_anew(&self.now().await?.servers);
        let operator = &*visitor.operator;
        tracing::info!(operator, "has the servers asked for their tools");
        Ok(see(PATH))
    }
}

fn shown(told: &Told, now: &Now, wanted: Wanted) -> Shown {
    // All at one time, so that the page does not contradict itself.
    let servers = now.servers.iter();
    let servers = servers.map(|server| {
        let standing = told.known.standing(&server.name);
        (server, standing, verdict::in_front_of(&server.name, now))
    });
    let servers: Vec<_> = servers.collect();
    let sources = servers.iter().filter_map(|(server, standing, fronts)| {
        Some(Source {
            server,
            offered: &standing.answered.as_ref()?.offered,
            fronts,
        })
    });
    let sources: Vec<_> = sources.collect();
    let mut all: Vec<_> = sources.iter().enumerate().flat_map(found).collect();
    let left_out = all.len().saturating_sub(MOST_TOOLS);
    all.truncate(MOST_TOOLS);
    for tool in &mut all {
        tool.kinds = kinds(&sources, tool);
    }
    let summary = summary(&all, left_out);
    all.retain(|tool| is_wanted(&wanted, &sources, tool));
    all.sort_by_key(|tool| (Reverse(tool.risk.severity()), Reverse(tool.risk), tool.name));
    let first = wanted.page.saturating_sub(1).saturating_mul(ON_A_PAGE);
    let rows = rows(&sources, &all, first);
    let last = first.saturating_add(rows.len());
    let rows_of_servers = servers.iter().take(MOST_SERVERS);
    let rows_of_servers = rows_of_servers
        .map(|(server, standing, fronts)| server_row(server, standing, fronts.len()));
    let verdicts = Kind::ALL.map(|kind| {
        let is_chosen = wanted.verdict == Some(kind);
        choice(kind.name(), kind.words(), is_chosen)
    });
    let risks = RiskCategory::ALL.iter().rev();
    let risks = risks.map(|risk| choice(risk.as_str(), risk.as_str(), wanted.risk == Some(*risk)));
    Shown {
        servers: rows_of_servers.collect(),
        more_servers: servers.len().saturating_sub(MOST_SERVERS),
        is_asking: servers.iter().any(|(_, standing, _)| standing.is_asked),
        summary,
        found: all.len(),
        rows,
        server_choices: server_choices(now, &wanted),
        risk_choices: risks.collect(),
        verdict_choices: verdicts.into(),
        before: (wanted.page > 1).then(|| wanted.on(wanted.page.saturating_sub(1))),
        after: (last < all.len()).then(|| wanted.on(wanted.page.saturating_add(1))),
        first: first.saturating_add(1),
        last,
        wanted,
    }
}

fn summary(all: &[Found<'_>], left_out: usize) -> Summary {
    let count = |is_it: &dyn Fn(&Found<'_>) -> bool| all.iter().filter(|tool| is_it(tool)).count();
    let severities = [
        RiskSeverity::Critical,
        RiskSeverity::High,
        RiskSeverity::Medium,
        RiskSeverity::Low,
    ];
    let severities = severities.map(|severity| {
        let number = count(&|tool| tool.risk.severity() == severity);
        (severity.as_str(), number)
    });
    let verdicts = Kind::ALL.map(|kind| {
        let number = count(&|tool| tool.kinds.contains(&kind));
        (choice(kind.name(), kind.words(), false), number)
    });
    Summary {
        all: all.len(),
        severities: severities.into(),
        verdicts: verdicts.into(),
        warned: count(&|tool| tool.is_warned),
        left_out,
    }
}

/// The tools of a page, from this one on.
fn rows(sources: &[Source<'_>], all: &[Found<'_>], first: usize) -> Vec<Row> {
    let here = || all.iter().skip(first).take(ON_A_PAGE);
    let servers = here().filter_map(|tool| Some(&*sources.get(tool.server)?.server.name));
    let beside = Beside::of(&tools_of(sources), &servers.collect());
    let rows = here().filter_map(|tool| row(sources, tool, &beside));
    rows.collect()
}

fn found<'a>((server, source): (usize, &'a Source<'_>)) -> impl Iterator<Item = Found<'a>> {
    let tools = &source.offered.tools;
    let tools = tools.definitions.iter().zip(&tools.values);
    let found = source.offered.risks.iter().zip(&source.offered.warned);
    let tools = tools.zip(found).enumerate();
    tools.map(
        move |(place, ((definition, value), (risk, is_warned)))| Found {
            server,
            place,
            name: definition.name(),
            description: value
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            risk: risk.category(),
            is_warned: *is_warned,
            kinds: Vec::new(),
        },
    )
}

/// What becomes of calls of a tool, for somebody.
fn kinds(sources: &[Source<'_>], tool: &Found<'_>) -> Vec<Kind> {
    let source = sources.get(tool.server);
    let fronts = source.into_iter().flat_map(|source| {
        let fronts = source.fronts.iter().take(verdict::MOST_POLICIES);
        fronts.map(|front| front.kind(tool.name, &source.offered.listed))
    });
    let mut kinds: Vec<_> = fronts.collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn is_wanted(wanted: &Wanted, sources: &[Source<'_>], tool: &Found<'_>) -> bool {
    let server = sources.get(tool.server).map(|source| &*source.server.name);
    (wanted.server.is_empty() || server == Some(&*wanted.server))
        && wanted.risk.is_none_or(|risk| risk == tool.risk)
        && wanted.verdict.is_none_or(|kind| tool.kinds.contains(&kind))
        && wanted.is_found_in(tool.name, tool.description)
}

fn tools_of<'s>(sources: &'s [Source<'_>]) -> Vec<(&'s str, &'s [ToolDefinition])> {
    let sources = sources.iter();
    let tools = sources.map(|source| {
        let tools = &*source.offered.tools.definitions;
        (&*source.server.name, tools)
    });
    tools.collect()
}

fn row(sources: &[Source<'_>], tool: &Found<'_>, beside: &Beside) -> Option<Row> {
    let source = sources.get(tool.server)?;
    let (name, offered) = (&source.server.name, source.offered);
    Row::of(name, offered, tool.place, source.fronts, beside)
}

fn server_row(server: &ServerNow, standing: &Standing, fronts: usize) -> ServerRow {
    let trouble = standing.trouble.as_deref();
    ServerRow {
        name: beginning(&server.name, NAME),
        reach: beginning(&server.reach.told(), NAME),
        is_asked: standing.is_asked,
        trouble: trouble.map(|reason| beginning(reason, 5 * NAME)),
        offers: standing.answered.as_ref().map(offers),
        unasked: fronts.saturating_sub(verdict::MOST_POLICIES),
    }
}

/// How much a server offers.
fn offers(answered: &Answered) -> (String, Time) {
    let offered = &answered.offered;
    let tools = offered.tools.definitions.len();
    let mut parts = vec![count(tools, "tool")];
    if offered.tools.nameless > 0 {
        parts.push(format!("{} without a name", offered.tools.nameless));
    }
    for (number, noun) in [
        (offered.prompts, "prompt"),
        (offered.resources, "resource"),
        (offered.resource_templates, "resource template"),
    ] {
        match number {
            Some(0) => {}
            Some(number) => parts.push(count(number, noun)),
            None => parts.push(format!("{noun}s unknown")),
        }
    }
    (parts.join(", "), Time::of(answered.at, SystemTime::now()))
}

fn server_choices(now: &Now, wanted: &Wanted) -> Vec<Choice> {
    let servers = now.servers.iter();
    let servers = servers.map(|server| Choice {
        value: server.name.clone(),
        text: beginning(&server.name, NAME),
        is_chosen: server.name == wanted.server,
    });
    servers.take(MOST_SERVERS).collect()
}

fn choice(value: &str, text: &str, is_chosen: bool) -> Choice {
    Choice {
        value: value.to_owned(),
        text: text.to_owned(),
        is_chosen,
    }
}

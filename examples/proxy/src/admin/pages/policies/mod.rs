//! The policies, and where they are changed.
//!
//! The [text](Draft) of a policy is the only thing that is true: what is chosen with buttons
//! and fields is written into it at once, [without touching the rest](edit), and what the
//! page shows is read out of it. It is nowhere but in the form of the page until it is
//! [saved](mod@file), which a [review] goes before.

mod draft;
mod edit;
mod field;
mod file;
mod findings;
mod list;
mod operation;
mod recorded;
mod review;
mod rows;
mod rule;
mod saving;
mod schema;
mod value;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use askama::Template;
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Body;
use mcp_policy::{DefaultAction, Policy, PolicyDocument};
use tower::BoxError;

use self::{
    draft::{Draft, pressed},
    edit::{Node, Stuck},
    field::Field,
    findings::Checked,
    rows::Rows,
    rule::Opened,
};
use super::super::{
    api::{self, Refusal},
    known::Offered,
    roles::Power,
};
use super::{
    Page, Pages,
    form::Form,
    frame::{Frame, Here},
    sessions::Visitor,
};
use crate::{
    config::files,
    json_text::visible,
    page,
    running::{Now, PolicyNow, Use, policy_id},
};

const PATH: &str = "/policies";

/// Bytes of a form with a text of 1 MiB, of which every byte can take three.
const LONGEST_FORM: usize = 4 << 20;
/// Bytes of a text: no file is written that is longer.
const LONGEST_TEXT: usize = 1 << 20;

/// A policy that can be changed, and what there is to know about it.
pub(super) struct Subject {
    id: String,
    path: PathBuf,
    /// Whether it is in that file, and not a part of this program.
    is_in_file: bool,
    /// What holds.
    running: Policy,
    uses: Vec<Use>,
    /// Why what was read last is not used.
    trouble: Option<String>,
    /// What the servers offer in front of which it is, as far as that is known.
    offered: Vec<(String, Arc<Offered>)>,
    /// The other servers, and why nothing is known of them if they were asked.
    unknown: Vec<(String, Option<String>)>,
}

/// Something that is said at the top of a page.
struct Notice {
    /// `good`, `bad` or nothing.
    class: &'static str,
    text: String,
}

impl Notice {
    fn new(class: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { class, text }
    }
}

#[derive(Template)]
#[template(path = "policy.html")]
struct Builder<'a> {
    frame: Frame<'a>,
    notices: Vec<Notice>,
    path: String,
    id: &'a str,
    uses: String,
    draft: &'a Draft,
    /// Whether whoever looks can change it.
    changes: bool,
    /// Tells a text that was changed by hand from one that was not.
    seen: String,
    /// Whether the text is another one than that of the file.
    is_changed: bool,
    checked: &'a Checked,
    has_previous: bool,
    /// What can be chosen; nothing if the text is no JSON.
    chosen: Option<Chosen>,
}

/// What can be chosen instead of being written.
struct Chosen {
    settings: Vec<Field>,
    general: Vec<rows::Row>,
    tools: Rows,
    opened: Option<Opened>,
}

impl Chosen {
    fn of(draft: &Draft, policy: Option<&Policy>, subject: &Subject) -> Option<Self> {
        let root = Node::of(&draft.text)?;
        root.members()?;
        let opened = draft.at.as_deref();
        Some(Self {
            settings: operation::settings(root),
            general: rows::general(root, draft),
            tools: rows::rows(root, policy, draft, subject),
            opened: opened.and_then(|at| Opened::of(root, at, operation::tool_at(subject, at))),
        })
    }
}

impl Pages {
    pub(super) async fn policies(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        let Some(id) = path
            .strip_prefix(PATH)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return self.list_of_policies(visitor).await;
        };
        if id.ends_with("/edit") || id.ends_with("/save") {
            return Err(Refusal::wrong_method(http::Method::POST));
        }
        let subject = self.subject(id).await?;
        let text = match subject.is_in_file {
            true => read(&subject.path).await?,
            false => subject.running.source_text().to_owned(),
        };
        let mut draft = Draft::of_file(&text);
        draft.part = query.get("part").parse().unwrap_or_default();
        let rule = query.find("tool").map(|name| place_of_tool(&name));
        draft.at = rule.or_else(|| query.find("at").map(|at| at.into_owned()));
        let notices = said_of(&subject, &draft, query.find("saved").is_some());
        self.builder(visitor, subject, draft, notices, StatusCode::OK)
            .await
    }

    pub(super) async fn change_policy<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let path = request.uri().path().to_owned();
        let wanted = path
            .strip_prefix(PATH)
            .and_then(|rest| rest.strip_prefix('/'));
        let (id, verb) = wanted
            .and_then(|rest| rest.split_once('/'))
            .filter(|(_, verb)| matches!(*verb, "edit" | "save"))
            .ok_or_else(api::nothing_here)?;
        let power = Power::ChangePolicies;
        let (visitor, form) = self.signed_up_to(LONGEST_FORM, power, request).await?;
        let subject = self.subject(id).await?;
        if !subject.is_in_file {
            let why = "Nothing was done: this policy is a part of the program. Start it with a file \
                       to have one that can be changed.";
            return Err(Refusal::new(StatusCode::CONFLICT, why));
        }
        let draft = Draft::of_form(&form);
        if draft.text.len() > LONGEST_TEXT {
            let why = "Nothing was done: the text is longer than 1 MiB. Use patterns, such as \
                       `read_*`.";
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        match verb {
            "save" => self.save(&visitor, subject, draft).await,
            _ => self.edit(&visitor, subject, draft, form).await,
        }
    }

    /// The policy with this id.
    async fn subject(&self, id: &str) -> Result<Subject, Refusal> {
        let now = self.now().await?;
        self.told.known.look(&now.servers);
        let Now {
            policies, trouble, ..
        } = now;
        let mut policies = policies.into_iter();
        let found = policies.find(|one| policy_id(&one.path) == id);
        let PolicyNow {
            path,
            is_in_file,
            policy,
            uses,
        } = found.ok_or_else(|| {
            let why = "There is no such policy, or not any more. See those there are at /policies.";
            Refusal::new(StatusCode::NOT_FOUND, why)
        })?;
        let mut servers: Vec<_> = uses.iter().map(|one| one.server.clone()).collect();
        servers.dedup();
        let (mut offered, mut unknown) = (Vec::new(), Vec::new());
        for server in servers {
            match self.told.known.of(&server) {
                Some(known) => offered.push((server, known)),
                None => {
                    let trouble = self.told.known.standing(&server).trouble;
                    unknown.push((server, trouble));
                }
            }
        }
        Ok(Subject {
            id: id.to_owned(),
            path,
            is_in_file,
            running: policy,
            uses,
            trouble,
            offered,
            unknown,
        })
    }

    async fn edit(
        &self,
        visitor: &Visitor,
        subject: Subject,
        mut draft: Draft,
        form: Form,
    ) -> Result<Page, Refusal> {
        let pressed = pressed(&form)?;
        if pressed == ["review"] {
            return self
                .review(visitor, subject, draft, Vec::new(), StatusCode::OK)
                .await;
        }
        // The text can be long.
        let changing = tokio::task::spawn_blocking(move || {
            let notice = changed(&mut draft, &form, &pressed, &subject)?;
            Ok::<_, Refusal>((subject, draft, Vec::from_iter(notice)))
        });
        let (subject, draft, notices) = changing.await.map_err(|_| failed())??;
        self.builder(visitor, subject, draft, notices, StatusCode::OK)
            .await
    }

    async fn builder(
        &self,
        visitor: &Visitor,
        subject: Subject,
        draft: Draft,
        mut notices: Vec<Notice>,
        status: StatusCode,
    ) -> Result<Page, Refusal> {
        let visitor = visitor.clone();
        notices.extend(unknown(&subject));
        let page = tokio::task::spawn_blocking(move || {
            let checked = Checked::of(&draft.text, &subject);
            let now = match subject.is_in_file {
                true => files::needed(&subject.path).unwrap_or_default(),
                false => draft.text.clone(),
            };
            if subject.is_in_file && Policy::digest_of(&now) != draft.base {
                let why = "The file was changed by somebody else since this began.";
                notices.push(Notice::new("bad", why));
            }
            let builder = Builder {
                frame: Frame::new(&visitor, Here::Policies),
                notices,
                path: visible(&subject.path.display().to_string()),
                id: &subject.id,
                uses: told(&subject.uses),
                seen: Policy::digest_of(&draft.text),
                changes: visitor.changes_policies() && subject.is_in_file,
                is_changed: Draft::of_file(&now).text != draft.text,
                has_previous: file::previous(&subject.path).exists(),
                chosen: Chosen::of(&draft, checked.policy.as_ref(), &subject),
                draft: &draft,
                checked: &checked,
            };
            page::html(status, &builder)
        });
        page.await.map_err(|_| failed())
    }
}

/// Does with a text what the button says, and says why not if it cannot be done.
fn changed(
    draft: &mut Draft,
    form: &Form,
    pressed: &[String],
    subject: &Subject,
) -> Result<Option<Notice>, Refusal> {
    let pressed: Vec<&str> = pressed.iter().map(String::as_str).collect();
    match pressed.as_slice() {
        ["empty"] => {
            draft.text = PolicyDocument::new(DefaultAction::Deny).to_json_string() + "\n";
        }
        ["recommended"] => match recommended(subject) {
            Some(document) => draft.text = document.to_json_string() + "\n",
            None => {
                let why = "Nothing can be recommended: the server has not said yet what it offers.";
                return Ok(Some(Notice::new("bad", why)));
            }
        },
        ["previous"] => {
            draft.text = Draft::of_file(&needed(&file::previous(&subject.path))?).text;
        }
        ["reload"] => *draft = Draft::of_file(&needed(&subject.path)?),
        pressed => {
            if let Err(Stuck(why)) = operation::apply(draft, form, pressed, subject) {
                let why = format!("Nothing was done: {why}.");
                return Ok(Some(Notice::new("bad", why)));
            }
        }
    }
    Ok(None)
}

/// Of which servers nothing is known, and why.
fn unknown(subject: &Subject) -> impl Iterator<Item = Notice> {
    subject.unknown.iter().map(|(server, trouble)| {
        let server = visible(server);
        let text = match trouble {
            Some(trouble) => {
                let trouble = visible(trouble);
                format!(
                    "{server} does not say what it offers: {trouble}. What follows is known from \
                         the policy alone."
                )
            }
            None => format!("{server} is being asked what it offers. Look again in a moment."),
        };
        Notice::new("", text)
    })
}

/// What is said of a policy that was read from its file.
fn said_of(subject: &Subject, draft: &Draft, is_saved: bool) -> Vec<Notice> {
    let mut notices = Vec::new();
    if !subject.is_in_file {
        let text = "This policy is a part of the program, and cannot be changed here.";
        notices.push(Notice::new("", text));
        return notices;
    }
    let holds = subject.running.digest() == draft.base;
    match (is_saved, holds) {
        (true, true) => notices.push(Notice::new(
            "good",
            "Saved. It holds from the next call on.",
        )),
        (false, true) => {}
        (is_saved, false) => {
            let begin = match is_saved {
                true => "Saved, but not taken over: an older policy still holds.",
                false => "The file is not what holds now: an older policy does.",
            };
            let why = subject.trouble.as_deref().map(visible).unwrap_or_default();
            notices.push(Notice::new("bad", format!("{begin} {why}").trim_end()));
        }
    }
    notices
}

/// For whom a policy holds, in words.
fn told(uses: &[Use]) -> String {
    let mut told = uses.iter().map(|one| match &one.grant {
        Some(grant) => format!("grant {} on {}", visible(grant), visible(&one.server)),
        None => format!("everybody on {}", visible(&one.server)),
    });
    let first: Vec<_> = told.by_ref().take(20).collect();
    match told.count() {
        0 => first.join(", "),
        more => format!("{}, and {more} more", first.join(", ")),
    }
}

/// The policy to begin with for what is offered by the servers; `None` while nothing is known.
fn recommended(subject: &Subject) -> Option<PolicyDocument> {
    match subject.offered.as_slice() {
        [] => None,
        [(_, one)] => Some(one.recommended.clone()),
        several => {
            let tools: Vec<_> = several
                .iter()
                .flat_map(|(_, offered)| offered.tools.definitions.iter().cloned())
                .collect();
            Some(mcp_policy::recommend(&tools))
        }
    }
}

/// The place of the entry of a tool.
fn place_of_tool(name: &str) -> String {
    format!("/tools/{}", edit::step(&key_of(name)))
}

/// A name as an entry has it: what would be a pattern is literal.
fn key_of(name: &str) -> String {
    name.replace('\\', "\\\\").replace('*', "\\*")
}

async fn read(path: &Path) -> Result<String, Refusal> {
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || needed(&path)).await;
    text.map_err(|_| failed())?
}

fn needed(path: &Path) -> Result<String, Refusal> {
    files::needed(path).map_err(|why| unreadable(&why))
}

fn unreadable(why: &str) -> Refusal {
    let text = format!("The policy cannot be read, and so not changed here: {why}.");
    Refusal::new(StatusCode::CONFLICT, text)
}

fn failed() -> Refusal {
    let text = "Something went wrong here. Nothing was changed. Try again.";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

//! Grants that are added, rotated and revoked, and what is locked down, from the next call
//! on. What cannot be taken back is said once more before it is done.

use std::path::PathBuf;

use askama::Template;
use http::StatusCode;
use serde_json::json;

use super::{
    super::{
        super::api::Refusal,
        Page, Pages,
        form::Form,
        frame::{Frame, Here},
        see,
        sessions::Visitor,
    },
    LOCKDOWN, PATH, REVOKE, ROTATE, Typed, said,
};
use crate::{
    access::ENDPOINT,
    config::{
        granting::{self, Made, NewGrant},
        is_name,
    },
    failure::Failure,
    json_text::visible,
    lockdown::change::{What, change},
    page,
};

/// What somebody is asked before it is done.
#[derive(Template)]
#[template(path = "grants_sure.html")]
struct Sure<'a> {
    frame: Frame<'a>,
    title: String,
    text: String,
    /// Where it is sent to, and what.
    action: &'static str,
    fields: Vec<(&'static str, String)>,
    button: &'static str,
    /// Whether somebody loses something by it.
    is_hard: bool,
}

/// A token, which is shown here and nowhere else.
#[derive(Template)]
#[template(path = "grants_token.html")]
struct Token<'a> {
    frame: Frame<'a>,
    label: String,
    server: String,
    token: String,
    url: String,
    /// How clients are told.
    settings: String,
    /// Whether there was another one before.
    is_another: bool,
}

impl Typed {
    fn of(form: &Form) -> Self {
        let text = |name| form.get(name).trim().to_owned();
        Self {
            label: text("label"),
            server: text("server"),
            policy: text("policy"),
            file: text("file"),
            claims: form.get("claims").into_owned(),
        }
    }

    fn claims(&self) -> Vec<String> {
        let lines = self.claims.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty());
        let claims = lines.map(|line| match line.split_once('=') {
            Some((name, text)) => format!("{}={}", name.trim(), text.trim()),
            None => line.to_owned(),
        });
        claims.collect()
    }

    /// What is wrong with it that can be said better here than by whoever reads it.
    fn wrong(&self) -> Option<&'static str> {
        let is_claim = |line: &String| {
            line.split_once('=')
                .is_some_and(|(name, _)| !name.is_empty())
        };
        if !is_name(&self.label) {
            return Some(
                "the label has 1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first.",
            );
        }
        if !self.claims().iter().all(is_claim) {
            return Some("each claim is a line like NAME=TEXT.");
        }
        if !self.policy.is_empty() && !self.file.is_empty() {
            return Some("choose a policy or name another file, not both.");
        }
        None
    }
}

impl Pages {
    pub(super) async fn add_grant(
        &self,
        visitor: &Visitor,
        config: PathBuf,
        form: &Form,
    ) -> Result<Page, Refusal> {
        let typed = Typed::of(form);
        if let Some(wrong) = typed.wrong() {
            return self.not_added(visitor, typed, wrong.to_owned()).await;
        }
        let new = typed.clone();
        let adding = move |config: &std::path::Path| {
            let policy = match &*new.file {
                "" => &*new.policy,
                file => file,
            };
            let new = NewGrant {
                label: &new.label,
                server: &new.server,
                policy: Some(policy).filter(|policy| !policy.is_empty()),
                claims: &new.claims(),
            };
            granting::add(config, &new)
        };
        let made = match self.on_a_thread(&config, adding).await? {
            Ok(made) => made,
            Err(failure) => return self.not_added(visitor, typed, said(&failure)).await,
        };
        let (operator, grant, server) = (&*visitor.operator, &*typed.label, &*made.server);
        tracing::info!(operator, grant, server, "added a grant");
        self.tell(visitor, &format!("The grant {grant} for {server} was made"));
        Ok(self.token(visitor, &typed.label, made, false).await)
    }

    async fn not_added(
        &self,
        visitor: &Visitor,
        typed: Typed,
        wrong: String,
    ) -> Result<Page, Refusal> {
        let wrong = Some(format!("Nothing was added: {wrong}"));
        self.list_of_grants(visitor, StatusCode::BAD_REQUEST, typed, wrong)
            .await
    }

    pub(super) async fn rotate_grant(
        &self,
        visitor: &Visitor,
        config: PathBuf,
        form: &Form,
    ) -> Result<Page, Refusal> {
        let label = label(form)?;
        if !is_sure(form) {
            let title = format!("Another token for {label}?");
            let text = "The token that there is is good for nothing from the next call on, and \
                        streams that were opened with it end. The new one is shown once.";
            let sure = sure_of_grant(visitor, label, title, text, (ROTATE, "Make another token"));
            return Ok(page::html(StatusCode::OK, &sure));
        }
        let of = label.clone();
        let rotating = move |config: &std::path::Path| granting::rotate(config, &of);
        let made = self.on_a_thread(&config, rotating).await?;
        let made = made.map_err(|failure| refused(&failure))?;
        let (operator, grant) = (&*visitor.operator, &*label);
        tracing::info!(operator, grant, "gave a grant another token");
        self.tell(visitor, &format!("The grant {grant} got another token"));
        Ok(self.token(visitor, &label, made, true).await)
    }

    pub(super) async fn revoke_grant(
        &self,
        visitor: &Visitor,
        config: PathBuf,
        form: &Form,
    ) -> Result<Page, Refusal> {
        let label = label(form)?;
        if !is_sure(form) {
            let title = format!("Revoke the grant {label}?");
            let text = "Its token is good for nothing from the next call on, for ever, and streams \
                        that were opened with it end.";
            let sure = sure_of_grant(visitor, label, title, text, (REVOKE, "Revoke it"));
            return Ok(page::html(StatusCode::OK, &sure));
        }
        let of = label.clone();
        let revoking = move |config: &std::path::Path| granting::revoke(config, &of);
        let done = self.on_a_thread(&config, revoking).await?;
        done.map_err(|failure| refused(&failure))?;
        let (operator, grant) = (&*visitor.operator, &*label);
        tracing::info!(operator, grant, "revoked a grant");
        self.tell(visitor, &format!("The grant {grant} was revoked"));
        Ok(see(PATH))
    }

    pub(super) async fn lock_down(
        &self,
        visitor: &Visitor,
        config: PathBuf,
        form: &Form,
    ) -> Result<Page, Refusal> {
        let name = form.get("name").into_owned();
        let what = match &*form.get("what") {
            "everything" => What::Everything,
            "server" if is_name(&name) => What::Server(name.clone()),
            "grant" if is_name(&name) => What::Grant(name.clone()),
            "caller" if is_caller(&name) => What::Caller(name.clone()),
            _ => return Err(unknown()),
        };
        let is_on = match &*form.get("lock") {
            "on" => true,
            "off" => false,
            _ => return Err(unknown()),
        };
        if !is_sure(form) {
            let sure = sure_of(visitor, &what, is_on, name);
            return Ok(page::html(StatusCode::OK, &sure));
        }
        let of = what.clone();
        let locking = move |config: &std::path::Path| change(config, &of, is_on);
        let done = self.on_a_thread(&config, locking).await?;
        done.map_err(|failure| refused(&failure))?;
        let operator = &*visitor.operator;
        tracing::warn!(operator, ?what, is_on, "changed the lockdown");
        let of = noun(&what);
        let text = match is_on {
            true => format!("The lockdown of {of} was begun"),
            false => format!("The lockdown of {of} was ended"),
        };
        self.tell(visitor, &text);
        Ok(see(PATH))
    }

    async fn token(&self, visitor: &Visitor, label: &str, made: Made, is_another: bool) -> Page {
        let Made { server, token } = made;
        // The token is shown now or never.
        let now = self.now().await.ok();
        let base = now.and_then(|now| now.endpoint).unwrap_or_default();
        let url = format!("{base}{ENDPOINT}/{server}");
        let settings = json!({ "mcpServers": { &*server: {
            "type": "http",
            "url": url,
            "headers": { "Authorization": format!("Bearer {token}") },
        } } });
        let token = Token {
            frame: Frame::new(visitor, Here::Grants),
            label: label.to_owned(),
            server,
            token,
            url,
            settings: format!("{settings:#}"),
            is_another,
        };
        page::html(StatusCode::OK, &token)
    }
}

/// Bytes of what an issuer calls somebody, and of the issuer's own name.
const LONGEST_CALLER: usize = 1_024;

/// Whether somebody can be called so whom an issuer knows.
fn is_caller(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_CALLER && visible(name) == name
}

/// Before a grant loses its token: by which path, and which button.
fn sure_of_grant<'a>(
    visitor: &'a Visitor,
    label: String,
    title: String,
    text: &str,
    (action, button): (&'static str, &'static str),
) -> Sure<'a> {
    Sure {
        frame: Frame::new(visitor, Here::Grants),
        title,
        text: text.to_owned(),
        action,
        fields: vec![("label", label)],
        button,
        is_hard: true,
    }
}

fn sure_of<'a>(visitor: &'a Visitor, what: &What, is_on: bool, name: String) -> Sure<'a> {
    let kind = match what {
        What::Everything => "everything",
        What::Server(_) => "server",
        What::Grant(_) => "grant",
        What::Caller(_) => "caller",
    };
    let noun = noun(what);
    let (title, text, button) = match is_on {
        true => (
            format!("Lock down {noun}?"),
            "Every call of it is refused from the next one on, until this is ended. What is \
             under way goes on.",
            "Lock it down",
        ),
        false => (
            format!("End the lockdown of {noun}?"),
            "Its calls are judged by their policies again, from the next one on.",
            "End the lockdown",
        ),
    };
    let text = match (what, is_on) {
        (What::Everything, false) => {
            "All calls are judged by their policies again, from the next one on, those to servers \
             and of grants that were locked down alone, too."
        }
        _ => text,
    };
    let lock = if is_on { "on" } else { "off" };
    Sure {
        frame: Frame::new(visitor, Here::Grants),
        title,
        text: text.to_owned(),
        action: LOCKDOWN,
        fields: vec![
            ("what", kind.to_owned()),
            ("name", name),
            ("lock", lock.to_owned()),
        ],
        button,
        is_hard: is_on,
    }
}

fn noun(what: &What) -> String {
    match what {
        What::Everything => "everything".to_owned(),
        What::Server(name) => format!("the server {name}"),
        What::Grant(label) => format!("the grant {label}"),
        What::Caller(name) => format!("the caller {name}"),
    }
}

/// Whether it was said once more.
fn is_sure(form: &Form) -> bool {
    form.get("sure") == "yes"
}

fn label(form: &Form) -> Result<String, Refusal> {
    let label = form.get("label").into_owned();
    match is_name(&label) {
        true => Ok(label),
        false => Err(unknown()),
    }
}

fn unknown() -> Refusal {
    let text = "Nothing was done: nobody knows what is meant. Load the page again.";
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

fn refused(failure: &Failure) -> Refusal {
    let text = format!("Nothing was done: {}", said(failure));
    Refusal::new(StatusCode::CONFLICT, text)
}

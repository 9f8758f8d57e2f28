//! What goes before another policy holds, and has it hold.

use std::time::Duration;

use askama::Template;
use http::StatusCode;
use mcp_policy::Policy;

use super::{
    super::{
        super::api::Refusal,
        Page, Pages,
        frame::{Frame, Here},
        see,
        sessions::Visitor,
    },
    Notice, PATH, Subject,
    draft::Draft,
    failed,
    file::{self, NotSaved},
    findings::Checked,
    needed,
    recorded::Recorded,
    review::Review,
    told,
};
use crate::{config::files, json_text::visible, page};

/// How long a policy that was saved is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether it holds.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Template)]
#[template(path = "policy_review.html")]
struct Reviewed<'a> {
    frame: Frame<'a>,
    notices: Vec<Notice>,
    path: String,
    id: &'a str,
    uses: String,
    draft: &'a Draft,
    checked: &'a Checked,
    review: &'a Review,
}

impl Pages {
    /// What would change, before it does.
    pub(super) async fn review(
        &self,
        visitor: &Visitor,
        subject: Subject,
        draft: Draft,
        notices: Vec<Notice>,
        status: StatusCode,
    ) -> Result<Page, Refusal> {
        let visitor = visitor.clone();
        let told = self.told.clone();
        let page = tokio::task::spawn_blocking(move || {
            let now = needed(&subject.path)?;
            let checked = Checked::of(&draft.text, &subject);
            let recorded = || Recorded::last(told.audit.as_ref(), &told.recent, &subject.uses);
            let review = Review::of(&now, &draft, checked.policy.as_ref(), &subject, recorded);
            let reviewed = Reviewed {
                frame: Frame::new(&visitor, Here::Policies),
                notices,
                path: visible(&subject.path.display().to_string()),
                id: &subject.id,
                uses: self::told(&subject.uses),
                draft: &draft,
                checked: &checked,
                review: &review,
            };
            Ok(page::html(status, &reviewed))
        });
        page.await.map_err(|_| failed())?
    }

    pub(super) async fn save(
        &self,
        visitor: &Visitor,
        subject: Subject,
        draft: Draft,
    ) -> Result<Page, Refusal> {
        let (path, base) = (subject.path.clone(), draft.base.clone());
        let (text, draft, saved) = tokio::task::spawn_blocking(move || {
            let old = files::read(&path).ok().flatten().unwrap_or_default();
            let text = draft.to_write(&old);
            if text.parse::<Policy>().is_err() {
                return (text, draft, None);
            }
            let saved = file::save(&path, &text, &base);
            (text, draft, Some(saved))
        })
        .await
        .map_err(|_| failed())?;
        let operator = &*visitor.operator;
        let (path, digest) = (subject.path.display(), Policy::digest_of(&text));
        match saved {
            None => {
                let why = "Nothing was saved: a policy with errors does not load. Mend them first.";
                let notices = vec![Notice::new("bad", why)];
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                self.builder(visitor, subject, draft, notices, status).await
            }
            Some(Err(NotSaved::Other(now))) => {
                tracing::info!(operator, policy = %path, "not saved: somebody else has changed it");
                let why = "Nothing was saved: somebody has changed the file since this began. Here \
                           is what your text would change of it as it is now.";
                let notices = vec![Notice::new("bad", why)];
                let base = Policy::digest_of(&now);
                let draft = Draft { base, ..draft };
                let status = StatusCode::CONFLICT;
                self.review(visitor, subject, draft, notices, status).await
            }
            Some(Err(NotSaved::Failed(why))) => {
                tracing::error!(operator, policy = %path, why, "not saved");
                let notices = vec![Notice::new("bad", visible(&why))];
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                self.builder(visitor, subject, draft, notices, status).await
            }
            Some(Ok(())) => {
                tracing::info!(operator, policy = %path, digest, "saved a policy");
                let said = format!("Saved the policy {path}");
                self.tell(visitor, &said);
                self.waits_for(&subject, &digest).await;
                Ok(see(&format!("{PATH}/{}?saved=", subject.id)))
            }
        }
    }

    /// Waits until a policy that was saved holds, but not for ever.
    async fn waits_for(&self, subject: &Subject, digest: &str) {
        let holds = async {
            loop {
                let Ok(now) = self.now().await else {
                    return;
                };
                let own = now.policies.iter().find(|one| one.path == subject.path);
                if own.is_none_or(|own| own.policy.digest() == digest) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        // Else the next page says that it does not.
        let _ = tokio::time::timeout(PATIENCE, holds).await;
    }
}

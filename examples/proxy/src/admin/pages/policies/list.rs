//! All policies that hold now.

use askama::Template;
use http::StatusCode;
use mcp_policy::{DefaultAction, Policy};

use super::super::super::api::Refusal;
use super::super::{
    Page, Pages,
    frame::{Frame, Here},
    sessions::Visitor,
};
use super::{failed, told};
use crate::{
    config::files,
    json_text::visible,
    page,
    running::{PolicyNow, policy_id},
};

/// A policy in the list.
struct Row {
    id: String,
    path: String,
    uses: String,
    holds: String,
    digest: String,
    warnings: usize,
    /// What holds is not what stands in the file.
    is_other: bool,
}

#[derive(Template)]
#[template(path = "policies.html")]
struct List<'a> {
    frame: Frame<'a>,
    rows: Vec<Row>,
    trouble: Option<String>,
}

impl Pages {
    pub(super) async fn list_of_policies(&self, visitor: &Visitor) -> Result<Page, Refusal> {
        let now = self.now().await?;
        let trouble = now.trouble.as_deref().map(visible);
        let rows = tokio::task::spawn_blocking(move || {
            let rows: Vec<Row> = now.policies.iter().map(Row::of).collect();
            rows
        });
        let list = List {
            frame: Frame::new(visitor, Here::Policies),
            rows: rows.await.map_err(|_| failed())?,
            trouble,
        };
        Ok(page::html(StatusCode::OK, &list))
    }
}

impl Row {
    fn of(one: &PolicyNow) -> Self {
        let digest = one.policy.digest();
        let text = files::read(&one.path).ok().flatten();
        let document = one.policy.document();
        let tools = document.tools.len();
        Self {
            id: policy_id(&one.path),
            path: visible(&one.path.display().to_string()),
            uses: told(&one.uses),
            holds: format!(
                "{}, {}",
                match tools {
                    1 => "1 entry for tools".to_owned(),
                    _ => format!("{tools} entries for tools"),
                },
                match document.default {
                    DefaultAction::Deny => "the rest is denied",
                    DefaultAction::Hide => "the rest is hidden",
                    DefaultAction::Allow => "the rest is allowed",
                    _ => "for the rest see the text",
                },
            ),
            digest: digest.chars().take(19).collect(),
            warnings: one.policy.warnings().len(),
            is_other: one.is_in_file && text.is_none_or(|text| Policy::digest_of(&text) != digest),
        }
    }
}

use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::super::ApprovalNotice;
use crate::approval::request::ApprovalState;
use crate::approval::ruling::Decider;
use crate::policy::Approver;

/// What is sent.
pub(super) struct Letter {
    /// The same for the same notice, whoever sends it and however often.
    pub(super) id: String,
    pub(super) body: Bytes,
}

impl Letter {
    pub(super) fn of(notice: &ApprovalNotice) -> Self {
        let body = Body {
            kind: format!("approval.{}", notice.state()),
            timestamp: time(SystemTime::now()),
            data: Data::of(notice),
        };
        Self {
            id: format!("approval_{}_{}", notice.id(), notice.state()),
            // Strings cannot fail to serialise.
            body: serde_json::to_vec(&body).unwrap_or_default().into(),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    id: String,
    state: &'static str,
    server: &'a str,
    caller: &'a str,
    method: &'a str,
    name: &'a str,
    rules: Vec<&'a str>,
    reason: Option<&'a str>,
    approver: Approver,
    created_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
}

impl<'a> Data<'a> {
    fn of(notice: &'a ApprovalNotice) -> Self {
        Self {
            id: notice.id().to_string(),
            state: ApprovalState::as_str(notice.state()),
            server: notice.server(),
            caller: notice.caller(),
            method: notice.method(),
            name: notice.name(),
            rules: notice.rules().collect(),
            reason: notice.reason(),
            approver: notice.approver(),
            created_at: time(notice.created_at()),
            expires_at: time(notice.expires_at()),
            decided_by: notice.decided_by().map(|decider| match decider {
                Decider::Operator(name) => &**name,
                Decider::Caller => notice.caller(),
            }),
            decided_at: notice.decided_at().map(time),
        }
    }
}

fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

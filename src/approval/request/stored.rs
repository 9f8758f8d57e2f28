//! How a request is kept outside of the memory of this process.
//!
//! What is shown of the call is a text of its own, because it is forgotten earlier
//! than the rest.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{ApprovalRequest, ApprovalState, ShownArguments};
use crate::approval::digest::CallDigest;
use crate::approval::question::{Facts, Shown};
use crate::approval::ruling::{Decider, Ruling};
use crate::policy::Approver;
use crate::store::StoreError;

/// Of what is written here. It becomes greater when older versions of this crate
/// would take it for something else.
const VERSION: u8 = 1;

/// Without a reason: that could repeat an argument.
const UNREADABLE: StoreError = StoreError::of(
    "a request for approval cannot be read, as if a later version or somebody else had written \
         it: nobody knows what it asks for",
);

/// All but what is shown.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    version: u8,
    id: Cow<'a, str>,
    digest: [u8; 32],
    server: Cow<'a, str>,
    caller: Cow<'a, str>,
    method: Cow<'a, str>,
    name: Cow<'a, str>,
    rules: Vec<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
    by_caller: bool,
    expires: Duration,
    state: Cow<'a, str>,
    created_at: SystemTime,
    expires_at: SystemTime,
    decision: Option<Decision<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision<'a> {
    approves: bool,
    /// `None` if it was the client that calls.
    operator: Option<Cow<'a, str>>,
    note: Option<Cow<'a, str>>,
    at: SystemTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredShown<'a> {
    arguments: Option<Cow<'a, str>>,
    cut: usize,
    others: Option<Cow<'a, str>>,
}

impl ApprovalRequest {
    /// All of it but what is shown of the call, as a text for
    /// [`from_stored`](Self::from_stored) and nobody else: what is in it may be another
    /// with each version of this crate.
    ///
    /// # Errors
    ///
    /// If a time in it is before 1970.
    ///
    /// ```
    /// use mcp_policy::{Action, ApprovalQuestion, ApprovalRequest, Caller, Moment, Policy};
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny",
    ///     "tools": { "pay": { "require_approval": true } } }"#.parse()?;
    /// let decision = policy.decide(&Action::call_tool("pay"));
    /// let message = r#"{ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    ///     "params": { "name": "pay", "arguments": { "to": "bob" } } }"#;
    /// let demand = decision.approval().unwrap();
    /// let alice = Caller::new("alice");
    /// let asked = ApprovalQuestion::of_message("", &alice, message, demand, Moment::now());
    ///
    /// let mut request = ApprovalRequest::new(&asked.unwrap())?;
    /// let (stored, shown) = (request.stored()?, request.stored_shown()?);
    /// let again = ApprovalRequest::from_stored(&stored, shown.as_deref())?;
    /// assert_eq!(again.id(), request.id());
    /// assert_eq!(again.arguments().unwrap().text(), r#"{ "to": "bob" }"#);
    ///
    /// request.cancel();
    /// assert_eq!(request.stored_shown()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stored(&self) -> Result<String, StoreError> {
        let facts = &self.facts;
        let decision = self.decision.as_ref().map(|(ruling, at)| Decision {
            approves: ruling.approves(),
            operator: match ruling.decider() {
                Decider::Operator(name) => Some((&**name).into()),
                Decider::Caller => None,
            },
            note: ruling.note().map(Into::into),
            at: *at,
        });
        let stored = Stored {
            version: VERSION,
            id: self.id.to_string().into(),
            digest: *facts.digest.as_bytes(),
            server: (&*facts.server).into(),
            caller: (&*facts.caller).into(),
            method: (&*facts.method).into(),
            name: (&*facts.name).into(),
            rules: facts.rules.iter().map(|rule| (&**rule).into()).collect(),
            reason: facts.reason.as_deref().map(Into::into),
            by_caller: facts.approver == Approver::Caller,
            expires: facts.expires,
            state: self.state.as_str().into(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            decision,
        };
        written(&stored)
    }

    /// What is shown of the call to whoever decides, as another text for
    /// [`from_stored`](Self::from_stored); `None` once the request has ended. It holds
    /// values of arguments: a store forgets it as soon as it is `None`.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn stored_shown(&self) -> Result<Option<String>, StoreError> {
        let Some(shown) = &self.shown else {
            return Ok(None);
        };
        let arguments = shown.arguments.as_ref();
        let stored = StoredShown {
            arguments: arguments.map(|arguments| arguments.text().into()),
            cut: arguments.map_or(0, ShownArguments::cut),
            others: shown.others.as_deref().map(Into::into),
        };
        written(&stored).map(Some)
    }

    /// The request of which this is the text, and which has ended since at the latest.
    ///
    /// # Errors
    ///
    /// If that cannot be told with certainty.
    #[cfg(any(feature = "redis", test))]
    pub(in crate::approval) fn from_stored_when_over(stored: &str) -> Result<Self, StoreError> {
        let mut request = Self::from_parts(read(stored)?, None)?;
        request.expire();
        Ok(request)
    }

    /// The request of which [`stored`](Self::stored) and
    /// [`stored_shown`](Self::stored_shown) gave these texts. Its time may be
    /// [over](Self::is_over) meanwhile.
    ///
    /// # Errors
    ///
    /// If that cannot be told with certainty: the texts are not of one request, or of a
    /// version of this crate that this one does not understand.
    pub fn from_stored(stored: &str, shown: Option<&str>) -> Result<Self, StoreError> {
        let shown = shown.map(read::<StoredShown<'_>>).transpose()?;
        let request = Self::from_parts(read(stored)?, shown)?;
        match request.state.is_open() == request.shown.is_some() {
            true => Ok(request),
            false => Err(UNREADABLE),
        }
    }

    fn from_parts(stored: Stored<'_>, shown: Option<StoredShown<'_>>) -> Result<Self, StoreError> {
        let state: ApprovalState = stored.state.parse().map_err(|_| UNREADABLE)?;
        if stored.version != VERSION {
            return Err(UNREADABLE);
        }
        let facts = Facts {
            digest: CallDigest::from_bytes(stored.digest),
            server: stored.server.into(),
            caller: stored.caller.into(),
            method: stored.method.into(),
            name: stored.name.into(),
            rules: stored.rules.into_iter().map(Arc::from).collect(),
            reason: stored.reason.map(Arc::from),
            approver: match stored.by_caller {
                true => Approver::Caller,
                false => Approver::Operator,
            },
            expires: stored.expires,
        };
        let shown = shown.map(|shown| Shown {
            arguments: shown.arguments.map(|text| ShownArguments {
                text: text.into(),
                cut: shown.cut,
            }),
            others: shown.others.map(Box::from),
        });
        Ok(Self {
            id: stored.id.parse().map_err(|_| UNREADABLE)?,
            facts: Arc::new(facts),
            shown: shown.map(Arc::new),
            state,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            decision: stored
                .decision
                .map(|decision| (decision.ruling(), decision.at)),
        })
    }
}

impl Decision<'_> {
    fn ruling(&self) -> Ruling {
        let ruling = match (&self.operator, self.approves) {
            (Some(name), true) => Ruling::approve(&**name),
            (Some(name), false) => Ruling::deny(&**name),
            (None, approves) => Ruling::by_caller(approves),
        };
        match &self.note {
            Some(note) => ruling.with_note(note),
            None => ruling,
        }
    }
}

fn written(stored: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(stored)
        .map_err(|_| StoreError::of("a request for approval cannot be written"))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| UNREADABLE)
}

#[cfg(test)]
mod tests;

//! What a store is asked when a call needs an approval.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::digest::{CallDigest, Digested};
use super::request::{Approver, ShownArguments};
use crate::clock::Moment;
use crate::json::canonical::Unreadable;

/// Whether exactly this call is approved; see [`ApprovalStore::ask`]. It is the layer
/// that asks.
///
/// [`ApprovalStore::ask`]: super::ApprovalStore::ask
#[derive(Clone)]
pub struct ApprovalQuestion {
    pub(super) facts: Arc<Facts>,
    pub(super) arguments: Option<ShownArguments>,
    at: Moment,
}

/// What does not change of a request.
pub(super) struct Facts {
    pub(super) digest: CallDigest,
    pub(super) server: Arc<str>,
    pub(super) caller: Arc<str>,
    pub(super) method: Box<str>,
    pub(super) name: Box<str>,
    pub(super) rules: Vec<Box<str>>,
    pub(super) reason: Option<Box<str>>,
    pub(super) approver: Approver,
    pub(super) expires: Duration,
}

/// What a policy asks for.
#[derive(Clone, Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) approver: Approver,
    pub(crate) expires: Duration,
    /// Why it asks.
    pub(crate) reason: Option<&'a str>,
    /// The places of the rules that ask.
    pub(crate) rules: Vec<&'a str>,
    /// Tells what asks from what asked before the document was edited.
    pub(crate) digest: &'a str,
}

/// For which call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) server: &'a Arc<str>,
    pub(crate) caller: &'a Arc<str>,
    pub(crate) method: &'a str,
    /// Of what is called.
    pub(crate) name: &'a str,
    /// As they are written.
    pub(crate) params: Option<&'a [u8]>,
    /// As they are written, among these.
    pub(crate) arguments: Option<&'a [u8]>,
}

impl ApprovalQuestion {
    /// An error is why it cannot be said what exactly the call is.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "for the engine, which does not ask for approvals yet"
        )
    )]
    pub(crate) fn new(demand: &Demand<'_>, call: Call<'_>, at: Moment) -> Result<Self, Unreadable> {
        let digested = Digested {
            server: call.server,
            caller: call.caller,
            method: call.method,
            params: call.params,
            asked_by: demand.digest.as_bytes(),
        };
        let facts = Facts {
            digest: CallDigest::of(digested)?,
            server: Arc::clone(call.server),
            caller: Arc::clone(call.caller),
            method: call.method.into(),
            name: call.name.into(),
            rules: demand.rules.iter().copied().map(Box::from).collect(),
            reason: demand.reason.map(Box::from),
            approver: demand.approver,
            expires: demand.expires,
        };
        // They are part of what was read above, so they are UTF-8.
        let arguments = call.arguments.map(String::from_utf8_lossy);
        Ok(Self {
            facts: Arc::new(facts),
            arguments: arguments.map(|text| ShownArguments::of(&text)),
            at,
        })
    }

    /// Of what exactly is asked for.
    pub fn digest(&self) -> &CallDigest {
        &self.facts.digest
    }

    /// The [id](crate::Caller::id) of the caller.
    pub fn caller(&self) -> &Arc<str> {
        &self.facts.caller
    }

    /// How long a request waits to be decided, and from then on to be used.
    pub fn expires(&self) -> Duration {
        self.facts.expires
    }

    /// When the call came.
    pub fn at(&self) -> Moment {
        self.at
    }
}

/// Without the arguments.
impl fmt::Debug for ApprovalQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalQuestion")
            .field("facts", &self.facts)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

//! What a store is asked when a call needs an approval.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::digest::{CallDigest, Digested, others};
use super::request::{MOST_SHOWN, ShownArguments};
use crate::caller::Caller;
use crate::clock::Moment;
use crate::json::canonical::Unreadable;
use crate::mcp::message;
use crate::mcp::params::{Name, Param};
use crate::policy::{ApprovalDemand, Approver};

/// Whether exactly this call is approved; see [`ApprovalStore::ask`]. It is the layer
/// that asks; a test of a store can do so [as well](Self::of_message).
///
/// [`ApprovalStore::ask`]: super::ApprovalStore::ask
#[derive(Clone)]
pub struct ApprovalQuestion {
    pub(super) facts: Arc<Facts>,
    pub(super) shown: Arc<Shown>,
    at: Moment,
}

/// What does not change of a request.
pub(super) struct Facts {
    pub(super) digest: CallDigest,
    pub(super) server: Arc<str>,
    pub(super) caller: Arc<str>,
    pub(super) method: Box<str>,
    pub(super) name: Box<str>,
    pub(super) rules: SmallVec<[Arc<str>; 2]>,
    pub(super) reason: Option<Arc<str>>,
    pub(super) approver: Approver,
    pub(super) expires: Duration,
}

/// What is shown of a call to whoever decides, and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) arguments: Option<ShownArguments>,
    pub(super) others: Option<Box<str>>,
}

/// What a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) approver: Approver,
    pub(crate) expires: Duration,
    pub(crate) reason: Option<Arc<str>>,
    /// The places of the rules that ask.
    pub(crate) rules: SmallVec<[Arc<str>; 2]>,
    /// Of everything that asks.
    pub(crate) digest: Box<str>,
}

impl From<&ApprovalDemand<'_>> for Demand {
    fn from(demand: &ApprovalDemand<'_>) -> Self {
        Self {
            approver: demand.approver(),
            expires: demand.expires(),
            reason: demand.reason().map(Into::into),
            rules: demand.rules().map(Into::into).collect(),
            digest: demand.digest().into(),
        }
    }
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

impl<'a> Call<'a> {
    /// What can be approved of a message; `None` if it names nothing.
    pub(crate) fn of(
        call: &'a message::Call<'_>,
        server: &'a Arc<str>,
        caller: &'a Arc<str>,
    ) -> Option<Self> {
        let params = call.params.as_ref();
        let named = match &*call.method {
            "resources/read" => Param::Uri,
            _ => Param::Name,
        };
        let Name::Text(name) = params?.named(named)? else {
            return None;
        };
        Some(Self {
            server,
            caller,
            method: &call.method,
            name,
            params: params.map(|params| params.raw),
            arguments: params.and_then(|params| params.span(Param::Arguments)),
        })
    }

    /// What it is, exactly, and what asks for its approval.
    pub(crate) fn digest(&self, asked_by: &[u8]) -> Result<CallDigest, Unreadable> {
        CallDigest::of(Digested {
            server: self.server,
            caller: self.caller,
            method: self.method,
            params: self.params,
            asked_by,
        })
    }
}

impl ApprovalQuestion {
    /// What is asked when this caller sends this message, a JSON-RPC request, to the
    /// server of this name (empty if it has none), and its policy
    /// [demands](crate::Decision::approval) this approval. `None` if nothing can be asked:
    /// it is no request by which something is called, got or read, or cannot be judged.
    ///
    /// ```
    /// use mcp_policy::{
    ///     Action, ApprovalQuestion, ApprovalStore, ApprovalAsked, Caller, MemoryApprovalStore, Moment,
    ///     Policy,
    /// };
    ///
    /// let policy: Policy = r#"{ "version": "1", "default": "deny",
    ///     "tools": { "wipe": { "require_approval": true } } }"#.parse()?;
    /// let decision = policy.decide(&Action::call_tool("wipe"));
    /// let question = ApprovalQuestion::of_message(
    ///     "files",
    ///     &Caller::new("alice"),
    ///     r#"{ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "wipe" } }"#,
    ///     decision.approval().unwrap(),
    ///     Moment::now(),
    /// );
    /// let store = MemoryApprovalStore::default();
    /// let asked = store.ask(&question.unwrap());
    /// assert!(matches!(futures::executor::block_on(asked.get())?, ApprovalAsked::Pending(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_message(
        server: &str,
        caller: &Caller,
        message: &str,
        demand: &ApprovalDemand<'_>,
        at: Moment,
    ) -> Option<Self> {
        let Ok(message::Message::Request(_, call)) = message::Message::parse(message.as_bytes())
        else {
            return None;
        };
        let (server, caller) = (server.into(), caller.shared_id());
        let call = Call::of(&call, &server, &caller)?;
        let question = Self::new(&demand.into(), call, at);
        question.ok().filter(Self::shows_all)
    }

    /// An error is why it cannot be said what exactly the call is.
    pub(crate) fn new(demand: &Demand, call: Call<'_>, at: Moment) -> Result<Self, Unreadable> {
        let facts = Facts {
            digest: call.digest(demand.digest.as_bytes())?,
            server: Arc::clone(call.server),
            caller: Arc::clone(call.caller),
            method: call.method.into(),
            name: call.name.into(),
            rules: demand.rules.clone(),
            reason: demand.reason.clone(),
            approver: demand.approver,
            expires: demand.expires,
        };
        let member = match call.method {
            "resources/read" => "uri",
            _ => "name",
        };
        let others = match call.params {
            Some(params) => others(params, member)?,
            None => None,
        };
        // They are part of what was read above, so they are UTF-8.
        let arguments = call.arguments.map(String::from_utf8_lossy);
        let shown = Shown {
            arguments: arguments.map(|text| ShownArguments::of(&text)),
            others,
        };
        Ok(Self {
            facts: Arc::new(facts),
            shown: Arc::new(shown),
            at,
        })
    }

    /// Whether whoever decides sees all that is approved: nobody can approve what is
    /// too long to be shown.
    pub(crate) fn shows_all(&self) -> bool {
        let cut = self.shown.arguments.as_ref().map_or(0, ShownArguments::cut);
        let others = self.shown.others.as_ref().map_or(0, |others| others.len());
        cut == 0 && others <= MOST_SHOWN
    }

    /// The first rule that asks.
    pub(crate) fn rule(&self) -> &str {
        self.facts.rules.first().map_or("", |rule| rule)
    }

    pub(crate) fn server(&self) -> &str {
        &self.facts.server
    }

    pub(crate) fn shared_server(&self) -> Arc<str> {
        Arc::clone(&self.facts.server)
    }

    pub(crate) fn method(&self) -> &str {
        &self.facts.method
    }

    /// Who may approve.
    pub(crate) fn approver(&self) -> Approver {
        self.facts.approver
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

use std::time::SystemTime;

use crate::approval::request::{ApprovalId, ApprovalRequest, ApprovalState};
use crate::approval::ruling::Decider;
use crate::mcp::{shown, shown_uri};
use crate::policy::Approver;

/// What a [`Notifier`](super::Notifier) is told of a request: never the values of
/// arguments, and not what an operator noted, which may repeat one.
#[derive(Clone, Debug)]
pub struct ApprovalNotice {
    pub(super) request: ApprovalRequest,
    state: ApprovalState,
    name: Box<str>,
}

impl ApprovalNotice {
    /// Of a request when it was in this state.
    pub(super) fn new(request: &ApprovalRequest, state: ApprovalState) -> Self {
        let name = match request.method() {
            // A URI can hold what is nobody's business.
            "resources/read" => shown_uri(request.name()),
            _ => shown(request.name()),
        };
        Self {
            request: request.without_values(),
            state,
            name: name.into(),
        }
    }

    /// Which request it is.
    pub fn id(&self) -> ApprovalId {
        self.request.id()
    }

    /// What has become of it; a new one is pending.
    pub fn state(&self) -> ApprovalState {
        self.state
    }

    /// The name of the server, empty if it has none.
    pub fn server(&self) -> &str {
        self.request.server()
    }

    /// The [id](crate::Caller::id) of the caller.
    pub fn caller(&self) -> &str {
        self.request.caller()
    }

    /// `tools/call`, `prompts/get` or `resources/read`.
    pub fn method(&self) -> &str {
        self.request.method()
    }

    /// The name of the tool or prompt, cut to 128 characters and without any that could
    /// fool a reader; or the URI of the resource, without user, query and fragment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules that ask: `/tools/NAME/require_approval`.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.request.rules()
    }

    /// What the policy says why it asks.
    pub fn reason(&self) -> Option<&str> {
        self.request.reason()
    }

    /// Who may approve.
    pub fn approver(&self) -> Approver {
        self.request.approver()
    }

    /// When it was asked for.
    pub fn created_at(&self) -> SystemTime {
        self.request.created_at()
    }

    /// Until when it can be decided, or used once it was approved, or until when the
    /// same call is refused.
    pub fn expires_at(&self) -> SystemTime {
        match self.state {
            ApprovalState::Pending => self.request.undecided_until(),
            _ => self.request.expires_at(),
        }
    }

    /// Who approved or denied it.
    pub fn decided_by(&self) -> Option<&Decider> {
        self.decided(self.request.decided_by())
    }

    /// When it was approved or denied.
    pub fn decided_at(&self) -> Option<SystemTime> {
        self.decided(self.request.decided_at())
    }

    /// What was decided since is told later.
    fn decided<T>(&self, known: Option<T>) -> Option<T> {
        known.filter(|_| self.state != ApprovalState::Pending)
    }
}

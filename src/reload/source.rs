use std::sync::Arc;

#[cfg(doc)]
use super::LivePolicy;
use super::PolicyChanges;
use crate::caller::Caller;
use crate::policy::Policy;

/// Where the policy for a request comes from; see
/// [`PolicyLayer::from_source`](crate::PolicyLayer::from_source).
///
/// A [`Policy`] is a source: of itself, for everybody. A closure
/// `Fn(&Caller) -> Option<Policy>` is one that chooses by who calls:
///
/// ```
/// use mcp_policy::{Caller, Policy, PolicyLayer};
///
/// let operators: Policy = r#"{ "version": "1", "default": "allow" }"#.parse()?;
/// let readers: Policy = r#"{ "version": "1", "default": "deny", "tools": { "read_*": {} } }"#.parse()?;
///
/// let layer = PolicyLayer::from_source(move |caller: &Caller| match caller.id() {
///     "alice" => Some(operators.clone()),
///     "bob" => Some(readers.clone()),
///     _ => None,
/// });
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
///
/// A request is judged and answered by one policy: the one that this says when it is
/// judged. It may be asked more than once for that: again once a
/// [`SessionStore`](crate::SessionStore) that does not answer at once has answered, and
/// again once a call that was held has been approved, which is then judged by what holds
/// by then. It is also asked about messages that the server sends unasked, and about all
/// messages of the server on a [`MessageConnection`](crate::MessageConnection).
///
/// A caller without a policy may initialise and ping; its lists are
/// empty, and everything else is refused with the rule `(no policy)`.
///
/// If it panics, the request is refused.
pub trait PolicySource: Send + Sync + 'static {
    /// The policy for this caller, if there is one. Must not block.
    fn policy_for(&self, caller: &Caller) -> Option<Policy>;

    /// Whether callers may have different policies. If so, no list may be kept
    /// for anybody else, whatever it holds.
    fn depends_on_caller(&self) -> bool {
        true
    }

    /// How this source says that policies have changed; `None` if it does not.
    /// Asked once. Clients that keep lists are told then that these look
    /// different, as far as the server has said that they may be told. See
    /// [`LivePolicy`] for one that does.
    fn changes(&self) -> Option<PolicyChanges> {
        None
    }
}

/// One that is changed while it is in use.
#[deny(clippy::missing_trait_methods)]
impl<S: PolicySource + ?Sized> PolicySource for Arc<S> {
    fn policy_for(&self, caller: &Caller) -> Option<Policy> {
        (**self).policy_for(caller)
    }

    fn depends_on_caller(&self) -> bool {
        (**self).depends_on_caller()
    }

    fn changes(&self) -> Option<PolicyChanges> {
        (**self).changes()
    }
}

impl PolicySource for Policy {
    fn policy_for(&self, _: &Caller) -> Option<Policy> {
        Some(self.clone())
    }

    fn depends_on_caller(&self) -> bool {
        false
    }
}

impl<F> PolicySource for F
where
    F: Fn(&Caller) -> Option<Policy> + Send + Sync + 'static,
{
    fn policy_for(&self, caller: &Caller) -> Option<Policy> {
        self(caller)
    }
}

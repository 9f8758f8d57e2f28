use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::PolicySource;
use super::changes::PolicyChanges;
use crate::caller::Caller;
use crate::policy::Policy;

/// A policy that can be replaced while requests are judged by it.
///
/// Clones share the policy: keep one, and give the other to the layer. A request
/// that was judged by the old policy is also answered by it; the next one is
/// judged by the new policy.
///
/// ```
/// use mcp_policy::{LivePolicy, Policy, PolicyLayer};
///
/// let policy: Policy = r#"{ "version": "1", "default": "allow" }"#.parse()?;
/// let live = LivePolicy::new(policy);
/// let layer = PolicyLayer::from_source(live.clone());
///
/// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
/// assert!(live.replace(policy));
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone)]
pub struct LivePolicy {
    shared: Arc<Shared>,
}

struct Shared {
    policy: RwLock<Policy>,
    changes: PolicyChanges,
}

impl LivePolicy {
    /// A policy that holds until it is replaced.
    pub fn new(policy: Policy) -> Self {
        Self {
            shared: Arc::new(Shared {
                policy: RwLock::new(policy),
                changes: PolicyChanges::new(),
            }),
        }
    }

    /// The policy that holds now.
    pub fn current(&self) -> Policy {
        let policy = self.shared.policy.read();
        policy.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the policy from the next request on. One with the same
    /// [digest](Policy::digest), and as [open](Policy::is_shut), is the same, and changes
    /// nothing. Whether it did.
    pub fn replace(&self, policy: Policy) -> bool {
        let held = self.shared.policy.write();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        if held.is_same(&policy) {
            return false;
        }
        let old = std::mem::replace(&mut *held, policy);
        drop(held);
        // It may be the last of a very large one.
        drop(old);
        self.shared.changes.announce();
        true
    }
}

impl PolicySource for LivePolicy {
    fn policy_for(&self, _: &Caller) -> Option<Policy> {
        Some(self.current())
    }

    fn depends_on_caller(&self) -> bool {
        false
    }

    fn changes(&self) -> Option<PolicyChanges> {
        Some(self.shared.changes.clone())
    }
}

impl fmt::Debug for LivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivePolicy")
            .field("digest", &self.current().digest())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_policy_is_no_change() {
        let policy = |default: &str| -> Policy {
            let text = format!(r#"{{"version":"1","default":"{default}"}}"#);
            text.parse().unwrap()
        };
        let live = LivePolicy::new(policy("deny"));
        assert!(!live.replace(policy("deny")));
        assert_eq!(live.shared.changes.count(), 0);
        assert!(live.clone().replace(policy("hide")));
        assert_eq!(live.shared.changes.count(), 1);
        assert_eq!(live.current().digest(), policy("hide").digest());
    }

    /// What is shut has the digest of what is open.
    #[test]
    fn the_policy_that_holds_can_be_shut_and_opened_again() {
        let open: Policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
        let live = LivePolicy::new(open.clone());
        assert!(live.replace(live.current().shut()));
        assert!(live.current().is_shut());
        assert!(!live.replace(open.clone().shut()), "it is shut already");
        assert!(live.replace(open));
        assert!(!live.current().is_shut());
        assert_eq!(live.shared.changes.count(), 2);
    }
}

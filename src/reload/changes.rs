use std::fmt;

#[cfg(doc)]
use super::PolicySource;
use crate::bell::{Bell, Watch};

/// How a [`PolicySource`] says that callers may have other policies than before.
///
/// A source of one's own keeps one, returns a clone of it from
/// [`PolicySource::changes`], and [announces](Self::announce) every change:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, RwLock};
/// use mcp_policy::{Caller, Policy, PolicyChanges, PolicyLayer, PolicySource};
///
/// #[derive(Default)]
/// struct Teams {
///     policies: RwLock<HashMap<String, Policy>>,
///     changes: PolicyChanges,
/// }
///
/// impl Teams {
///     fn set(&self, team: &str, policy: Policy) {
///         self.policies.write().unwrap().insert(team.to_owned(), policy);
///         self.changes.announce();
///     }
/// }
///
/// impl PolicySource for Teams {
///     fn policy_for(&self, caller: &Caller) -> Option<Policy> {
///         let team = caller.claims().get("team")?.as_str()?;
///         self.policies.read().unwrap().get(team).cloned()
///     }
///
///     fn changes(&self) -> Option<PolicyChanges> {
///         Some(self.changes.clone())
///     }
/// }
///
/// let teams = Arc::new(Teams::default());
/// let layer = PolicyLayer::from_source(Arc::clone(&teams));
/// // At any time.
/// teams.set("finance", r#"{ "version": "1", "default": "deny" }"#.parse()?);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone, Default)]
pub struct PolicyChanges {
    bell: Bell,
}

impl PolicyChanges {
    /// Nothing has changed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that from now on some caller may have another policy than before.
    /// Whose lists look different by it is found out by whoever listens.
    pub fn announce(&self) {
        self.bell.ring();
    }

    /// How often something was announced.
    pub(crate) fn count(&self) -> u64 {
        self.bell.count()
    }

    /// Waits for changes until it is dropped.
    pub(crate) fn watch(&self) -> Watch {
        self.bell.watch()
    }
}

impl fmt::Debug for PolicyChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyChanges")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

//! What was last seen of the definitions of a server's tools, in whosever list.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::{DefinitionDigest, Definitions};

/// Tools that are remembered, besides those that the policy speaks of.
const MOST: usize = 10_000;

/// Remembers them, for all who share this.
#[derive(Clone, Default)]
pub(super) struct SeenDefinitions(Arc<Seen>);

#[derive(Default)]
struct Seen {
    /// Whether any policy asks for them.
    are_wanted: AtomicBool,
    digests: Mutex<HashMap<Box<str>, DefinitionDigest>>,
}

impl SeenDefinitions {
    /// From now on they are looked at in all lists.
    pub(super) fn want(&self) {
        self.0.are_wanted.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.0.are_wanted.load(Ordering::Relaxed)
    }

    /// A tool was listed with this definition. If nobody knows what that says, it is
    /// none that anybody has approved.
    pub(super) fn see(&self, tool: &str, digest: Option<DefinitionDigest>, is_pinned: bool) {
        let digest = digest.unwrap_or_default();
        let mut digests = self.lock();
        if let Some(known) = digests.get_mut(tool) {
            *known = digest;
        } else if is_pinned || digests.len() < MOST {
            digests.insert(tool.into(), digest);
        }
    }

    /// Nothing is left half done under the lock, so a panic of another thread spoils
    /// nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, DefinitionDigest>> {
        self.0
            .digests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Definitions for SeenDefinitions {
    fn digest(&self, tool: &str) -> Option<DefinitionDigest> {
        self.lock().get(tool).copied()
    }
}

impl fmt::Debug for SeenDefinitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenDefinitions").finish_non_exhaustive()
    }
}

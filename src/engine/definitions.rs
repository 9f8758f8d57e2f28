//! What was last seen of the definitions of a server's tools, in whosever list.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;
use crate::policy::{
    DefinitionDigest, Definitions, ListedTool, ListedTools, Policy, SeenRisk, Wants, text_digest,
};

/// Tools that are remembered, besides those that the policy speaks of.
const MOST: usize = 10_000;

/// Remembers them, for all who share this.
#[derive(Clone, Default)]
pub(super) struct SeenDefinitions(Arc<Seen>);

#[derive(Default)]
struct Seen {
    /// Whether any policy has pins.
    wants_digests: AtomicBool,
    /// Whether any policy judges by risk.
    wants_risks: AtomicBool,
    tools: Mutex<ListedTools>,
}

impl SeenDefinitions {
    /// From now on what this policy asks for is looked at in all lists.
    pub(super) fn want_for(&self, policy: &Policy) {
        if policy.pins_tools() {
            self.0.wants_digests.store(true, Ordering::Relaxed);
        }
        if policy.judges_by_risk() {
            self.0.wants_risks.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn are_wanted(&self) -> bool {
        let wants = self.wants();
        wants.digests || wants.risks
    }

    fn wants(&self) -> Wants {
        Wants {
            digests: self.0.wants_digests.load(Ordering::Relaxed),
            risks: self.0.wants_risks.load(Ordering::Relaxed),
        }
    }

    /// A tool was listed with this definition: what that comes to.
    pub(super) fn see(&self, name: &str, definition: &[u8], is_pinned: bool) -> ListedTool {
        let (text, wants) = (text_digest(definition), self.wants());
        if let Some(tool) = self.lock().unchanged(name, text, wants) {
            return tool;
        }
        let tool = ListedTool::read(name, definition, text, wants);
        let most = (!is_pinned).then_some(MOST);
        self.lock().see(name, tool, most);
        tool
    }

    fn lock(&self) -> MutexGuard<'_, ListedTools> {
        lock(&self.0.tools)
    }
}

impl Definitions for SeenDefinitions {
    fn digest(&self, tool: &str) -> Option<DefinitionDigest> {
        self.lock().digest(tool)
    }

    fn risk(&self, tool: &str) -> SeenRisk {
        self.lock().risk(tool)
    }
}

impl fmt::Debug for SeenDefinitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenDefinitions").finish_non_exhaustive()
    }
}

//! Which policy holds for whom, in front of one server.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use mcp_policy::{Caller, Policy, PolicyChanges, PolicySource};

use crate::{
    config::{Grant, Server},
    lock::{read, write},
    lockdown::{Lockdown, Somebody},
};

/// The policies in front of one server; clones share them.
#[derive(Clone)]
pub(super) struct Policies(Arc<Shared>);

struct Shared {
    server: String,
    table: RwLock<Table>,
    changes: PolicyChanges,
    lockdown: Arc<Lockdown>,
}

/// Who has which policy.
#[derive(Default)]
pub(super) struct Table {
    /// Of a server without grants.
    everybodys: Option<Policy>,
    /// By the name of the caller, the label of their grant and their policy.
    of_grants: HashMap<String, (Arc<str>, Option<Policy>)>,
}

impl Table {
    /// What a configuration says. Grants that are revoked have nothing.
    pub(super) fn of(name: &str, server: &Server, grants: &[Grant]) -> Self {
        let policy = |grant: &Grant| grant.policy.as_ref().map(|kept| kept.policy.clone());
        let of_grants = grants
            .iter()
            .filter(|grant| grant.server == name && !grant.is_revoked)
            .map(|grant| {
                let caller = Caller::new(&grant.label).id().to_owned();
                (caller, (Arc::clone(&grant.label), policy(grant)))
            });
        Self {
            everybodys: server.policy.as_ref().map(|kept| kept.policy.clone()),
            of_grants: of_grants.collect(),
        }
    }
}

impl Policies {
    /// Nobody has one yet.
    pub(super) fn new(server: &str, lockdown: &Arc<Lockdown>) -> Self {
        Self(Arc::new(Shared {
            server: server.to_owned(),
            table: RwLock::default(),
            changes: PolicyChanges::new(),
            lockdown: Arc::clone(lockdown),
        }))
    }

    /// From the next request on these hold.
    pub(super) fn replace(&self, table: Table) {
        let old = {
            let mut held = write(&self.0.table);
            std::mem::replace(&mut *held, table)
        };
        // It may be the last of very large ones.
        drop(old);
        self.announce();
    }

    /// Leaves a policy only to those grants for which that is true.
    pub(super) fn retain(&self, stands: impl Fn(&str) -> bool) {
        let mut held = write(&self.0.table);
        held.of_grants.retain(|_, (label, _)| stands(label));
        drop(held);
        self.announce();
    }

    /// Has clients told whose lists look different now.
    pub(super) fn announce(&self) {
        self.0.changes.announce();
    }
}

impl PolicySource for Policies {
    fn policy_for(&self, caller: &Caller) -> Option<Policy> {
        let table = read(&self.0.table);
        let grant = table.of_grants.get(caller.id());
        let who = Somebody {
            grant: grant.map(|(label, _)| &**label),
            caller: caller.id(),
        };
        if let Some(locked) = self.0.lockdown.policy(&self.0.server, who) {
            return Some(locked);
        }
        match grant {
            Some((_, policy)) => policy.clone(),
            None => table.everybodys.clone(),
        }
    }

    fn changes(&self) -> Option<PolicyChanges> {
        Some(self.0.changes.clone())
    }
}

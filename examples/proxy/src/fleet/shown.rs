//! What operators see of what runs.

use std::{collections::BTreeMap, path::Path};

use super::{Fleet, Trouble};
use crate::{
    config::KeptPolicy,
    running::{GrantNow, Now, PolicyNow, ServerNow, Use},
};

impl Fleet {
    /// With what the URLs of all servers begin.
    fn endpoint(&self) -> String {
        let address = self.settled.address;
        match &self.settled.start.public_url {
            Some(url) => url.at(""),
            // Which of its names others know it by, nobody has said.
            None if address.ip().is_unspecified() => {
                format!("http://HOST:{}", address.port())
            }
            None => format!("http://{address}"),
        }
    }

    pub(super) fn now(&self) -> Now {
        let running = self.running();
        let servers = running.servers.iter().map(|(name, server)| ServerNow {
            name: name.clone(),
            reach: server.reach(),
            is_issued: server.issued.is_some(),
        });
        let mut policies = BTreeMap::new();
        for (server, everybody) in &running.everybodys {
            add(&mut policies, &everybody.policy, server, None);
        }
        let mut grants = Vec::new();
        for grant in running.grants.all() {
            if let Some(kept) = grant.policy.as_ref().filter(|_| !grant.is_revoked) {
                add(&mut policies, kept, &grant.server, Some(&grant.label));
            }
            grants.push(GrantNow {
                label: grant.label.to_string(),
                server: grant.server.clone(),
                is_revoked: grant.is_revoked,
            });
        }
        grants.sort_by(|one, other| one.label.cmp(&other.label));
        let mut policies: Vec<_> = policies.into_values().collect();
        policies.iter_mut().for_each(|one| one.uses.sort_unstable());
        Now {
            config: Some(self.path.clone()),
            endpoint: Some(self.endpoint()),
            trouble: running
                .trouble
                .as_ref()
                .map(|trouble| Trouble::text(trouble).to_owned()),
            lets_nobody_in: running.is_unreadable(),
            lockdown: Some(self.settled.lockdown.now()),
            servers: servers.collect(),
            policies,
            grants,
        }
    }
}

/// Adds for whom a policy holds.
fn add<'a>(
    policies: &mut BTreeMap<&'a Path, PolicyNow>,
    kept: &'a KeptPolicy,
    server: &str,
    grant: Option<&str>,
) {
    let one = policies.entry(&kept.path).or_insert_with(|| PolicyNow {
        path: kept.path.clone(),
        is_in_file: true,
        policy: kept.policy.clone(),
        uses: Vec::new(),
    });
    one.uses.push(Use {
        server: server.to_owned(),
        grant: grant.map(str::to_owned),
    });
}

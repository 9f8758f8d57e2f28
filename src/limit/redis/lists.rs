//! What is counted on the server, for operators.

use std::collections::HashSet;
use std::time::Duration;

use redis::{FromRedisValue, Value};
use tokio::time::timeout;

use super::part::{About, HIGH, PREFIX};
use super::scripts::Scripts;
use crate::limit::{LimitFilter, LimitUsage};
use crate::policy::Amount;
use crate::remote::Link;
use crate::store::StoreError;

/// So many keys are looked at at a time.
const AT_ONCE: usize = 500;

/// How long it may take to look through everything.
const PATIENCE: Duration = Duration::from_secs(30);
const TOO_MUCH: StoreError = StoreError::of(
    "the Redis server holds too much to look through: a database of its own, as in \
     redis://HOST/1, holds nothing else",
);

/// What is counted, of what is meant; no more than so many.
pub(super) async fn usage(
    link: Link,
    scripts: &'static Scripts,
    filter: LimitFilter,
    most: usize,
) -> Result<Vec<LimitUsage>, StoreError> {
    let mut walk = Walk::new(link, scripts, filter);
    walk.seen = Some(HashSet::new());
    let looking = async {
        let mut found = Vec::new();
        while let Some((_, budget)) = walk.next().await? {
            found.extend(budget.counted);
            if found.len() >= most {
                break;
            }
        }
        found.truncate(most);
        Ok(found)
    };
    timeout(PATIENCE, looking).await.unwrap_or(Err(TOO_MUCH))
}

/// Forgets what is counted, of what is meant.
pub(super) async fn reset(
    link: Link,
    scripts: &'static Scripts,
    filter: LimitFilter,
) -> Result<(), StoreError> {
    let mut walk = Walk::new(link.clone(), scripts, filter);
    let resetting = async {
        while let Some((key, _)) = walk.next().await? {
            let mut call = scripts.reset.prepare_invoke();
            link.invoke::<()>(call.key(&key)).await?;
        }
        Ok(())
    };
    timeout(PATIENCE, resetting).await.unwrap_or(Err(TOO_MUCH))
}

/// Looks at every budget that is meant. What comes or goes meanwhile may be
/// among them or not.
struct Walk {
    link: Link,
    scripts: &'static Scripts,
    filter: LimitFilter,
    /// Where the server is to go on; `None` at the end.
    cursor: Option<u64>,
    /// What it has named last.
    keys: Vec<Vec<u8>>,
    /// What was meant, if it must not come twice: the server may name a key again.
    seen: Option<HashSet<Vec<u8>>>,
}

impl Walk {
    fn new(link: Link, scripts: &'static Scripts, filter: LimitFilter) -> Self {
        Self {
            link,
            scripts,
            filter,
            cursor: Some(0),
            keys: Vec::new(),
            seen: None,
        }
    }

    async fn next(&mut self) -> Result<Option<(Vec<u8>, Budget)>, StoreError> {
        loop {
            while let Some(key) = self.keys.pop() {
                if self.seen.as_ref().is_some_and(|seen| seen.contains(&key)) {
                    continue;
                }
                let mut call = self.scripts.usage.prepare_invoke();
                let answer = self.link.invoke(call.key(&key)).await?;
                let budget = Budget::read(answer);
                if let Some(budget) = budget.filter(|budget| budget.is_meant(&self.filter)) {
                    if let Some(seen) = &mut self.seen {
                        seen.insert(key.clone());
                    }
                    return Ok(Some((key, budget)));
                }
            }
            let Some(cursor) = self.cursor else {
                return Ok(None);
            };
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{PREFIX}{{*}}:b:*"));
            scan.arg("COUNT").arg(AT_ONCE);
            let (next, keys) = self.link.run(&scan).await?;
            (self.cursor, self.keys) = ((next != 0).then_some(next), keys);
        }
    }
}

/// What the server says of a budget.
struct Budget {
    about: About,
    counted: Vec<LimitUsage>,
}

impl Budget {
    /// `None` if there is no such budget any more, or if it was written by somebody
    /// else.
    fn read(answer: Value) -> Option<Self> {
        let (about, counters) = match answer {
            Value::Array(answer) => {
                let mut answer = answer.into_iter();
                let about: Vec<u8> = FromRedisValue::from_redis_value(answer.next()?).ok()?;
                (about, answer.collect::<Vec<_>>())
            }
            _ => return None,
        };
        let about: About = serde_json::from_slice(&about).ok()?;
        let counted = counters
            .chunks_exact(4)
            .filter_map(|counter| about.usage(counter))
            .collect();
        Some(Self { about, counted })
    }

    fn is_meant(&self, filter: &LimitFilter) -> bool {
        let About {
            server,
            policy,
            place,
            caller,
            ..
        } = &self.about;
        filter.is_of(server, caller.as_deref()) && filter.is_at(policy, place)
    }
}

impl About {
    /// What a counter says: the session, how much is used, and how long still.
    fn usage(&self, counter: &[Value]) -> Option<LimitUsage> {
        let counter = Value::Array(counter.to_vec());
        let (session, high, low, wait): (String, u64, u64, i64) =
            FromRedisValue::from_redis_value(counter).ok()?;
        let used = high.saturating_mul(HIGH).saturating_add(low);
        (used > 0).then(|| LimitUsage {
            server: self.server.clone(),
            policy: self.policy.clone(),
            place: self.place.clone(),
            caller: self.caller.clone(),
            session: (!session.is_empty()).then(|| session.into()),
            used: Amount::from_millionths(used),
            max: Amount::from_millionths(self.max),
            free_in: u64::try_from(wait).ok().map(Duration::from_micros),
        })
    }
}

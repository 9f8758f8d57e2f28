//! What a client has been told of how its lists look.

use super::{Engine, Judge};
use crate::caller::Caller;
use crate::mcp::changed::{Acknowledged, Lists};
use crate::policy::Views;

/// How the lists look to a client, as far as it knows.
#[derive(Debug)]
pub(crate) struct Told {
    views: Views,
    /// The changes of the source by then; `None` if they have not been looked at
    /// since the client was judged.
    changes: Option<u64>,
}

impl Told {
    /// What the client learns when it is judged.
    pub(crate) fn by(judge: &Judge) -> Self {
        Self {
            views: views(judge),
            changes: None,
        }
    }

    /// Whether the client knows everything, after so many changes.
    pub(crate) fn is_up_to_date(&self, changes: u64) -> bool {
        self.changes == Some(changes)
    }

    /// What looks different than the client knows, after so many changes. It
    /// knows then.
    pub(crate) fn news(&mut self, changes: u64, engine: &Engine, caller: &Caller) -> Lists {
        if self.is_up_to_date(changes) {
            return Lists::default();
        }
        let Ok(judge) = engine.judge_for(caller, &engine.sessions()) else {
            self.changes = Some(changes);
            return Lists::ALL;
        };
        // Between two changes the client may have seen anything. Where callers have
        // policies of their own, it could tell from that what others may see.
        let has_missed = !judge.is_per_caller()
            && self
                .changes
                .is_some_and(|known| changes.wrapping_sub(known) > 1);
        self.changes = Some(changes);
        let before = std::mem::replace(&mut self.views, views(&judge));
        match has_missed {
            true => Lists::ALL,
            false => before.differ(&self.views),
        }
    }
}

fn views(judge: &Judge) -> Views {
    let policy = judge.shown_policy();
    policy.map_or(Views::NOTHING, |policy| policy.views().clone())
}

/// A `subscriptions/listen` that goes on.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// As it was written.
    id: Box<[u8]>,
    requested: Lists,
    /// What the server agreed to, once it has.
    promised: Option<Lists>,
    told: Told,
}

impl Subscription {
    pub(crate) fn new(id: &[u8], requested: Lists, judge: &Judge) -> Self {
        Self {
            id: id.into(),
            requested,
            promised: None,
            told: Told::by(judge),
        }
    }

    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.promised.is_some()
    }

    /// The server acknowledges it, after it declared what it tells of, if it did.
    /// Without either, nobody knows that it tells of anything.
    pub(crate) fn acknowledge(&mut self, agreed: &Acknowledged, declared: Option<Lists>) {
        let promised = match (agreed.lists, declared) {
            (Some(agreed), Some(declared)) => agreed.and(declared),
            (Some(lists), None) | (None, Some(lists)) => lists,
            (None, None) => Lists::default(),
        };
        self.promised = Some(promised.and(self.requested));
    }

    /// The notifications that are due.
    pub(crate) fn news(&mut self, changes: u64, engine: &Engine, caller: &Caller) -> Vec<Vec<u8>> {
        let Some(promised) = self.promised else {
            return Vec::new();
        };
        let news = self.told.news(changes, engine, caller);
        news.and(promised).notifications(Some(&self.id))
    }
}

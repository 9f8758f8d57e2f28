//! Which sessions there are. Each is a running server, so there are few.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use mcp_policy::Caller;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::session::{Session, Shared};

use crate::lock::lock;

/// Sessions in all.
pub(super) const MOST_SESSIONS: usize = 128;
/// Sessions of one caller. The one beyond ends the caller's longest idle one.
pub(super) const MOST_OF_ONE_CALLER: usize = 32;
/// How long a session lasts that nobody uses.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How often idle sessions are looked for.
const LOOK: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<String, Arc<Session>>,
    /// Set when the program is about to end.
    closed: bool,
}

/// There is no room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Sessions {
    /// A session that nobody knows of yet. It is [ended](Self::end) unless it
    /// begins well.
    pub(super) fn begin(
        &self,
        shared: &Arc<Shared>,
        caller: &Caller,
        initialize: Bytes,
    ) -> Result<(String, Arc<Session>), Full> {
        let mut table = self.lock();
        if table.closed {
            return Err(Full);
        }
        let own = table.of(caller.id()).count();
        if own >= MOST_OF_ONE_CALLER {
            table.end_longest_idle_of(caller.id())?;
        } else if table.sessions.len() >= MOST_SESSIONS {
            // Whoever has the most can spare one.
            let largest = table.largest().ok_or(Full)?;
            table.end_longest_idle_of(&largest)?;
        }
        let id = Uuid::new_v4().to_string();
        let session = Session::new(Arc::clone(shared), caller.clone(), initialize);
        let session = Arc::new(session);
        table.sessions.insert(id.clone(), Arc::clone(&session));
        Ok((id, session))
    }

    /// The caller's session with this id. Another caller's does not exist.
    pub(super) fn get(&self, id: &str, caller: &Caller) -> Option<Arc<Session>> {
        let table = self.lock();
        let session = table.sessions.get(id)?;
        if session.caller.id() != caller.id() {
            return None;
        }
        session.touch();
        Some(Arc::clone(session))
    }

    pub(super) fn end(&self, id: &str) {
        let session = self.lock().sessions.remove(id);
        if let Some(session) = session {
            session.close();
        }
    }

    /// Ends all sessions for good.
    pub(super) fn end_all(&self) {
        let mut table = self.lock();
        table.closed = true;
        for (_, session) in table.sessions.drain() {
            session.close();
        }
    }

    /// Ends idle sessions, as long as anybody else has this table.
    pub(super) async fn keep_tidy(self: Arc<Self>) {
        let sessions = Arc::downgrade(&self);
        drop(self);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let Some(sessions) = sessions.upgrade() else {
                return;
            };
            sessions.end_idle();
        }
    }

    fn end_idle(&self) {
        let now = Instant::now();
        self.lock().sessions.retain(|_, session| {
            let since = session.idle_since();
            let is_idle = since.is_some_and(|since| now.saturating_duration_since(since) >= IDLE);
            if is_idle {
                tracing::info!("a session that nobody uses was ended");
                session.close();
            }
            !is_idle
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

impl Table {
    fn of(&self, caller: &str) -> impl Iterator<Item = (&String, &Arc<Session>)> {
        let sessions = self.sessions.iter();
        sessions.filter(move |(_, session)| session.caller.id() == caller)
    }

    /// The caller with the most sessions.
    fn largest(&self) -> Option<String> {
        let mut counts = HashMap::<&str, usize>::new();
        for session in self.sessions.values() {
            let count = counts.entry(session.caller.id()).or_default();
            *count = count.saturating_add(1);
        }
        let largest = counts.into_iter().max_by_key(|(_, count)| *count);
        largest.map(|(caller, _)| caller.to_owned())
    }

    fn end_longest_idle_of(&mut self, caller: &str) -> Result<(), Full> {
        let idle = self
            .of(caller)
            .filter_map(|(id, session)| Some((session.idle_since()?, id.clone())));
        let (_, id) = idle.min().ok_or(Full)?;
        tracing::warn!("a caller has too many sessions, so its longest idle one was ended");
        if let Some(session) = self.sessions.remove(&id) {
            session.close();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_policy::{MessageGuard, Policy};
    use tokio::time::{advance, sleep};

    fn shared() -> Arc<Shared> {
        let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse().unwrap();
        Arc::new(Shared::new(Vec::new(), MessageGuard::new(policy)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_its_callers_alone() {
        let sessions = Sessions::default();
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let (id, _) = sessions.begin(&shared(), &alice, Bytes::new()).unwrap();
        assert!(sessions.get(&id, &alice).is_some());
        assert!(sessions.get(&id, &bob).is_none());
        sessions.end(&id);
        assert!(sessions.get(&id, &alice).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_nobody_uses_ends() {
        let sessions = Arc::new(Sessions::default());
        tokio::spawn(Arc::clone(&sessions).keep_tidy());
        let (shared, caller) = (shared(), Caller::anonymous());
        let begin = || sessions.begin(&shared, &caller, Bytes::new()).unwrap();
        let (used, _) = begin();
        let (idle, _) = begin();
        let (heard, session) = begin();
        let listening = session.listen();
        sleep(IDLE / 2).await;
        assert!(sessions.get(&used, &caller).is_some());
        sleep(IDLE / 2 + LOOK * 2).await;
        assert!(sessions.get(&idle, &caller).is_none());
        assert!(sessions.get(&used, &caller).is_some());
        // Not idle, as long as somebody listens; from then on it counts.
        drop(listening);
        sleep(IDLE - LOOK).await;
        assert!(sessions.lock().sessions.contains_key(&heard));
        sleep(LOOK * 3).await;
        assert!(sessions.lock().sessions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_pushes_out_its_own_idle_sessions_only() {
        let sessions = Sessions::default();
        let shared = shared();
        let begin = |caller: &Caller| sessions.begin(&shared, caller, Bytes::new());
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let (alices, _) = begin(&alice).unwrap();
        let (first, session) = begin(&bob).unwrap();
        let mut listening = vec![session.listen()];
        advance(Duration::from_secs(1)).await;
        let (second, _) = begin(&bob).unwrap();
        advance(Duration::from_secs(1)).await;
        for _ in 2..=MOST_OF_ONE_CALLER {
            begin(&bob).unwrap();
        }
        assert!(sessions.get(&first, &bob).is_some(), "it is in use");
        assert!(sessions.get(&second, &bob).is_none());
        assert!(sessions.get(&alices, &alice).is_some());
        assert_eq!(sessions.lock().sessions.len(), MOST_OF_ONE_CALLER + 1);
        // With all of them in use there is no room, for this caller.
        let all: Vec<_> = sessions.lock().sessions.values().cloned().collect();
        listening.extend(all.iter().map(Session::listen));
        assert_eq!(begin(&bob).unwrap_err(), Full);
        begin(&alice).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_most_of_all_callers_together() {
        let sessions = Sessions::default();
        let shared = shared();
        for index in 0..MOST_SESSIONS {
            let caller = Caller::new(format!("caller {}", index / MOST_OF_ONE_CALLER));
            sessions.begin(&shared, &caller, Bytes::new()).unwrap();
        }
        // Whoever has the most has to spare an idle one.
        let late = sessions.begin(&shared, &Caller::new("late"), Bytes::new());
        assert!(late.is_ok());
        assert_eq!(sessions.lock().sessions.len(), MOST_SESSIONS);
        let all: Vec<_> = sessions.lock().sessions.values().cloned().collect();
        let listening: Vec<_> = all.iter().map(Session::listen).collect();
        let later = sessions.begin(&shared, &Caller::new("later"), Bytes::new());
        assert_eq!(later.unwrap_err(), Full);
        drop(listening);
        sessions.end_all();
        let after = sessions.begin(&shared, &Caller::new("caller 0"), Bytes::new());
        assert_eq!(after.unwrap_err(), Full);
    }
}

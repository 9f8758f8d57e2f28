//! What has been decided lately, in memory: for pages that show it, whatever else records
//! it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mcp_policy::{AuditRecord, AuditSink, DecisionRecord, Ending, OutcomeRecord, Receipt, Verdict};
use tokio::sync::watch;

use crate::{audit::Records, lock::lock};

/// Messages that are remembered.
const MOST: usize = 1_000;
/// Minutes for which is counted what was decided.
pub(crate) const MINUTES: usize = 24 * 60;

/// The last records and how many there were, minute by minute; clones share them.
#[derive(Clone)]
pub(crate) struct Recent(Arc<Shared>);

struct Shared {
    /// Whether anybody can look.
    is_shown: AtomicBool,
    kept: Mutex<Kept>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Kept {
    /// How many messages there were.
    came: u64,
    messages: VecDeque<Message>,
    minutes: VecDeque<Minute>,
}

/// A message, and what came of it.
#[derive(Clone)]
pub(crate) struct Message {
    /// Its place in the order in which messages came.
    pub(crate) number: u64,
    pub(crate) decision: DecisionRecord,
    /// `None` as long as it is under way.
    pub(crate) ended: Option<(Ending, Duration)>,
}

/// What was decided in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Since 1970.
    pub(crate) number: u64,
    pub(crate) counts: Counts,
}

/// What was decided how often. What is allowed and runs nothing, such as a list, is not
/// counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allowed: u32,
    /// Denied or hidden.
    pub(crate) refused: u32,
    /// By a limit.
    pub(crate) limited: u32,
    /// Needed an approval.
    pub(crate) waited: u32,
    /// Could not be read, decided or recorded.
    pub(crate) failed: u32,
}

impl Counts {
    fn of(&mut self, verdict: Verdict) -> &mut u32 {
        match verdict {
            Verdict::Allowed => &mut self.allowed,
            Verdict::Denied | Verdict::Hidden => &mut self.refused,
            Verdict::Limited => &mut self.limited,
            Verdict::Waiting => &mut self.waited,
            _ => &mut self.failed,
        }
    }

    fn add(&mut self, verdict: Verdict) {
        let count = self.of(verdict);
        *count = count.saturating_add(1);
    }

    fn take(&mut self, verdict: Verdict) {
        let count = self.of(verdict);
        *count = count.saturating_sub(1);
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self(Arc::new(Shared {
            is_shown: AtomicBool::new(false),
            kept: Mutex::default(),
            changes: watch::Sender::new(()),
        }))
    }
}

impl Recent {
    /// A sink that has everything remembered that this one records.
    pub(crate) fn beside(&self, records: Option<Records>) -> Arc<dyn AuditSink> {
        Arc::new(Beside {
            recent: self.clone(),
            records,
        })
    }

    /// Remembers from now on, because there are pages that show it: until then every call
    /// would wait for what nobody can look at.
    pub(crate) fn is_shown(&self) {
        self.0.is_shown.store(true, Ordering::Relaxed);
    }

    /// The last messages, the newest first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.kept().messages.iter().rev().cloned().collect()
    }

    /// The minutes in which something was decided, the oldest first.
    pub(crate) fn minutes(&self) -> Vec<Minute> {
        self.kept().minutes.iter().copied().collect()
    }

    /// Tells that something was decided or has ended.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    fn note(&self, record: &AuditRecord) {
        if !self.0.is_shown.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.kept();
        match record {
            AuditRecord::Decision(decision) => kept.decided(decision),
            AuditRecord::Outcome(outcome) => kept.ended(outcome),
            _ => {}
        }
        drop(kept);
        // Whoever comes later has seen what is kept.
        if self.0.changes.receiver_count() > 0 {
            self.0.changes.send_replace(());
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0.kept)
    }
}

impl Kept {
    fn decided(&mut self, decision: &DecisionRecord) {
        if self.messages.len() >= MOST {
            self.messages.pop_front();
        }
        self.came = self.came.saturating_add(1);
        self.messages.push_back(Message {
            number: self.came,
            decision: decision.clone(),
            ended: None,
        });
        if is_counted(decision) {
            self.count(minute(decision.time()), decision.verdict());
        }
    }

    fn count(&mut self, number: u64, verdict: Verdict) {
        // A clock that goes back finds the minute again, or counts in the last.
        let last = self.minutes.back().map(|last| last.number);
        if last.is_none_or(|last| last < number) {
            while self.minutes.len() >= MINUTES {
                self.minutes.pop_front();
            }
            let counts = Counts::default();
            self.minutes.push_back(Minute { number, counts });
        }
        if let Some(minute) = self.minutes.back_mut() {
            minute.counts.add(verdict);
        }
    }

    fn ended(&mut self, outcome: &OutcomeRecord) {
        let id = outcome.decision().id();
        let mut newest = self.messages.iter_mut().rev();
        if let Some(message) = newest.find(|message| message.decision.id() == id) {
            // What was decided can have been taken back.
            let before = std::mem::replace(&mut message.decision, outcome.decision().clone());
            message.ended = Some((outcome.ending(), outcome.latency()));
            self.count_anew(&before, outcome.decision());
        }
    }

    fn count_anew(&mut self, before: &DecisionRecord, now: &DecisionRecord) {
        if before.verdict() == now.verdict() {
            return;
        }
        let number = minute(before.time());
        let mut newest = self.minutes.iter_mut().rev();
        let counted = newest.find(|minute| is_counted(before) && minute.number <= number);
        match counted {
            Some(minute) => {
                minute.counts.take(before.verdict());
                minute.counts.add(now.verdict());
            }
            None if is_counted(now) => self.count(number, now.verdict()),
            None => {}
        }
    }
}

fn is_counted(decision: &DecisionRecord) -> bool {
    runs_something(decision) || !decision.is_allowed()
}

/// Whether it is about a call, and not about what is done around calls.
pub(super) fn runs_something(decision: &DecisionRecord) -> bool {
    matches!(
        decision.method(),
        Some("tools/call" | "prompts/get" | "resources/read")
    )
}

/// Which minute since 1970 a time is in.
pub(crate) fn minute(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / 60
}

struct Beside {
    recent: Recent,
    records: Option<Records>,
}

impl AuditSink for Beside {
    fn record(&self, record: &AuditRecord) -> Receipt {
        self.recent.note(record);
        match &self.records {
            Some(records) => records.record(record),
            None => Receipt::recorded(),
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Request, Response, header::CONTENT_TYPE};
    use http_body_util::{BodyExt, Full};
    use mcp_policy::PolicyLayer;
    use tower::{Layer, ServiceExt, service_fn};

    #[test]
    fn minutes_are_counted_apart_and_not_for_ever() {
        let mut kept = Kept::default();
        for (number, verdict) in [
            (7, Verdict::Allowed),
            (7, Verdict::Hidden),
            (8, Verdict::Limited),
            // The clock has gone back.
            (7, Verdict::Waiting),
            (8, Verdict::Unavailable),
        ] {
            kept.count(number, verdict);
        }
        let counted = |allowed, refused, limited, waited, failed| Counts {
            allowed,
            refused,
            limited,
            waited,
            failed,
        };
        let minutes: Vec<_> = kept
            .minutes
            .iter()
            .map(|one| (one.number, one.counts))
            .collect();
        assert_eq!(
            minutes,
            [(7, counted(1, 1, 0, 0, 0)), (8, counted(0, 0, 1, 1, 1))]
        );
        for number in 100..100 + MINUTES as u64 {
            kept.count(number, Verdict::Allowed);
        }
        assert_eq!(kept.minutes.len(), MINUTES);
        assert_eq!(kept.minutes[0].number, 100);
    }

    #[tokio::test]
    async fn nothing_is_remembered_before_somebody_can_look() {
        let recent = Recent::default();
        let policy = r#"{"version":"1","default":"allow"}"#.parse().unwrap();
        let layer = PolicyLayer::new(policy).audit(recent.beside(None));
        let server = layer.layer(service_fn(|_| async {
            let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
            let answer = Response::new(Full::<Bytes>::from(answer));
            Ok::<_, Infallible>(answer)
        }));
        let changes = recent.changes();
        let ask = async || {
            let message = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
            let request = Request::post("/mcp").header(CONTENT_TYPE, "application/json");
            let request = request.body(Full::<Bytes>::from(message)).unwrap();
            let answer = server.clone().oneshot(request).await.unwrap();
            answer.into_body().collect().await.unwrap();
        };
        ask().await;
        assert!(recent.messages().is_empty());
        assert!(!changes.has_changed().unwrap());
        recent.is_shown();
        ask().await;
        assert_eq!(recent.messages().len(), 1);
        assert!(changes.has_changed().unwrap());
    }
}

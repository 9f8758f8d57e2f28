use std::cell::LazyCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use super::kinds::Ending;
use super::record::{AuditRecord, DecisionRecord, OutcomeRecord};
use super::{AuditSink, Receipt, Unrecorded};
use crate::seam::asked;

/// The target of what is logged.
const LOG: &str = "mcp_policy";

/// Where records go: always to `tracing`, and to a sink if there is one.
#[derive(Clone, Default)]
pub(crate) struct Trail {
    sink: Option<Arc<dyn AuditSink>>,
}

impl Trail {
    /// Records go to this sink, too.
    pub(crate) fn to(sink: impl AuditSink) -> Self {
        Self {
            sink: Some(Arc::new(sink)),
        }
    }

    /// Records a decision. What is returned records its outcome.
    pub(crate) fn decided(
        &self,
        record: DecisionRecord,
        since: Instant,
    ) -> (OpenDecision, Receipt) {
        log(&record);
        let receipt = self.hand_over(|| AuditRecord::Decision(record.clone()));
        let open = OpenDecision {
            trail: self.clone(),
            record,
            since,
            status: None,
            has_ended: false,
        };
        (open, receipt)
    }

    fn hand_over(&self, record: impl FnOnce() -> AuditRecord) -> Receipt {
        let Some(sink) = &self.sink else {
            return Receipt::recorded();
        };
        let record = record();
        asked("audit sink", || sink.record(&record)).unwrap_or_else(|_| Receipt::unrecorded())
    }
}

/// Tells that an answer goes out although what came of its message is not recorded yet,
/// and perhaps never will be: nothing is refused for that, so nobody else would say it.
pub(crate) fn note_lost(recorded: Result<(), Unrecorded>) {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    if recorded.is_ok() {
        return;
    }
    #[cfg(feature = "metrics")]
    super::metrics::lost();
    if !IS_TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            target: LOG,
            "an outcome was not recorded in time, and its answer went out all the same; this is \
             said once"
        );
    }
}

/// The fields are only worked out where somebody listens.
fn log(record: &DecisionRecord) {
    let (caller, method, name) = (record.caller(), record.method(), record.name());
    let (rule, decision) = (record.rule(), record.id());
    if record.is_allowed() {
        tracing::debug!(target: LOG, caller, method, name, rule, %decision, "allowed");
    } else {
        tracing::info!(target: LOG, caller, method, name, rule, %decision, "refused");
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").finish_non_exhaustive()
    }
}

/// A decision whose outcome is still to be recorded. If it is dropped before,
/// nobody waits for the answer any more, and that is recorded.
#[derive(Debug)]
pub(crate) struct OpenDecision {
    trail: Trail,
    record: DecisionRecord,
    since: Instant,
    status: Option<u16>,
    has_ended: bool,
}

impl OpenDecision {
    fn answered_with(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Takes the decision back because it could not be recorded. Whether this
    /// can be is not waited for.
    pub(crate) fn take_back(mut self) -> DecisionRecord {
        self.record = self.record.taken_back();
        log(&self.record);
        let _ = self.record_end(Ending::Refused);
        self.record.clone()
    }

    /// Records how it ended.
    pub(crate) fn end(mut self, ending: Ending) -> Receipt {
        self.record_end(ending)
    }

    fn record_end(&mut self, ending: Ending) -> Receipt {
        self.has_ended = true;
        let status = self.status;
        // Nobody reads the clock for nothing.
        let latency = LazyCell::new(|| self.since.elapsed());
        let decision = self.record.id();
        tracing::debug!(target: LOG, %decision, ending = ending.as_str(), status, latency = ?*latency, "ended");
        // Only now, as it may have been taken back.
        #[cfg(feature = "metrics")]
        super::metrics::ended(&self.record, ending, *latency);
        self.trail.hand_over(|| {
            AuditRecord::Outcome(OutcomeRecord {
                time: SystemTime::now(),
                decision: self.record.clone(),
                ending,
                status,
                latency: *latency,
            })
        })
    }
}

impl Drop for OpenDecision {
    fn drop(&mut self) {
        if !self.has_ended {
            // Nobody is there to wait for it.
            let _ = self.record_end(Ending::Cancelled);
        }
    }
}

/// The decisions about the messages of one request: more than one in a batch.
#[derive(Debug)]
pub(crate) struct OpenDecisions {
    first: OpenDecision,
    others: Vec<OpenDecision>,
}

impl OpenDecisions {
    /// Adds the decision about another message, and its receipt.
    pub(crate) fn push(&mut self, mut other: OpenDecision) {
        if self.first.record.is_allowed() && !other.record.is_allowed() {
            std::mem::swap(&mut self.first, &mut other);
        }
        self.others.push(other);
    }

    /// The decision that counts for all: one that refuses, if there is any.
    pub(crate) fn record(&self) -> &DecisionRecord {
        &self.first.record
    }

    /// The server answered with this HTTP status.
    pub(crate) fn answered_with(&mut self, status: u16) {
        for open in std::iter::once(&mut self.first).chain(&mut self.others) {
            open.answered_with(status);
        }
    }

    /// Takes the decisions back because they could not be recorded. Whether this
    /// can be is not waited for.
    pub(crate) fn take_back(self) -> DecisionRecord {
        let others = self.others.into_iter();
        let taken_back = self.first.take_back();
        others.for_each(|open| drop(open.take_back()));
        taken_back
    }

    /// Records how all of them ended.
    pub(crate) fn end(self, ending: Ending) -> Receipt {
        let others = self.others.into_iter();
        others.fold(self.first.end(ending), |receipt, open| {
            receipt.and(open.end(ending))
        })
    }
}

impl From<OpenDecision> for OpenDecisions {
    fn from(first: OpenDecision) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

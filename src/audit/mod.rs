//! What is recorded of every message: who sent it, what it named, what was
//! decided by which rule, and what came of it. Never a value.

#[cfg(feature = "_benching")]
pub(crate) mod benching;
mod kinds;
mod line;
mod lines;
mod log_file;
mod members;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod place;
mod queue;
mod receipt;
mod record;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
mod testing;
mod trail;
mod written;

pub use kinds::{Ending, MessageKind, Verdict};
pub use lines::{JsonLines, WrittenLines};
pub(crate) use names::Names;
pub use receipt::{Receipt, Unrecorded};
pub(crate) use receipt::{Settlement, Settling};
pub use record::{AuditRecord, DecisionId, DecisionRecord, OutcomeRecord};
pub(crate) use record::{Conditions, Facts, MOST_KEYS, Shadow, UNRECORDED, session_digest};
#[cfg(feature = "sqlite")]
pub use sqlite::{AuditFilter, AuditRow, SqliteAuditLog, SqliteAuditSink};
pub(crate) use trail::{OpenDecision, OpenDecisions, Trail, note_lost};

/// Takes what is recorded; see [`PolicyLayer::audit`](crate::PolicyLayer::audit).
///
/// There are two records of every message. The first says what was decided, and
/// is handed over before an allowed message goes on; the second says what came
/// of it, and is handed over before the answer does. A decision whose outcome is
/// missing was overtaken by the end of the process.
///
/// A message by which something runs goes on once its first record is
/// [recorded](Receipt::recorded), and is refused with the rule `(audit)` if it is
/// not within 100 ms. What runs nothing by itself, like `ping` and the lists, and
/// every answer, waits as long and then goes on. So does a client's answer to a
/// request of the server's: the call that it belongs to was recorded.
///
/// [`JsonLines`] is a sink, and with the feature `sqlite` `SqliteAuditSink`. The same facts are also events for `tracing`,
/// whatever the sink.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use mcp_policy::{AuditRecord, AuditSink, Policy, PolicyLayer, Receipt};
///
/// /// Counts what was refused.
/// #[derive(Default)]
/// struct Refusals(Mutex<u64>);
///
/// impl AuditSink for Refusals {
///     fn record(&self, record: &AuditRecord) -> Receipt {
///         if let AuditRecord::Decision(decision) = record {
///             let Ok(mut refusals) = self.0.lock() else { return Receipt::unrecorded() };
///             *refusals += u64::from(!decision.is_allowed());
///         }
///         Receipt::recorded()
///     }
/// }
///
/// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
/// let refusals = Arc::new(Refusals::default());
/// let layer = PolicyLayer::new(policy).audit(refusals.clone());
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
pub trait AuditSink: Send + Sync + 'static {
    /// Takes a record. Must not block: what takes time is begun here, on a thread
    /// or in a task of its own, and the receipt tells when it is done.
    ///
    /// If it panics, nothing was recorded.
    fn record(&self, record: &AuditRecord) -> Receipt;
}

#[deny(clippy::missing_trait_methods)]
impl<S: AuditSink + ?Sized> AuditSink for std::sync::Arc<S> {
    fn record(&self, record: &AuditRecord) -> Receipt {
        (**self).record(record)
    }
}

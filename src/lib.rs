#![doc = include_str!("docs/crate.md")]
// Where docs.rs builds, what needs a feature says which.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod approval;
mod audit;
mod bell;
#[cfg(feature = "_benching")]
#[doc(hidden)]
pub mod benching;
mod caller;
mod clock;
mod digest;
mod engine;
mod fold;
mod frames;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod layer;
mod limit;
mod lock;
mod mcp;
mod names;
mod places;
mod policy;
mod reload;
#[cfg(feature = "redis")]
mod remote;
mod risk;
mod rounds;
mod seam;
mod session;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod state;
mod store;
mod waiting;

#[cfg(feature = "redis")]
pub use approval::RedisApprovalStore;
#[cfg(feature = "sqlite")]
pub use approval::SqliteApprovalStore;
pub use approval::{
    ApprovalAsked, ApprovalChanges, ApprovalError, ApprovalEvent, ApprovalEvents, ApprovalId,
    ApprovalIdError, ApprovalNotice, ApprovalQuestion, ApprovalRequest, ApprovalState,
    ApprovalStore, ApprovalUsed, Approvals, CallDigest, Decider, MemoryApprovalStore, NotDecided,
    Notifier, Ruling, ShownArguments,
};
#[cfg(feature = "webhook")]
pub use approval::{Webhook, WebhookError};
#[cfg(feature = "sqlite")]
pub use audit::{AuditFilter, AuditRow, SqliteAuditLog, SqliteAuditSink};
pub use audit::{
    AuditRecord, AuditSink, DecisionId, DecisionRecord, Ending, JsonLines, MessageKind,
    OutcomeRecord, Receipt, Unrecorded, Verdict, WrittenLines,
};
pub use caller::Caller;
pub use clock::{Clock, Moment, SystemClock};
pub use frames::{FromClient, FromServer, MessageConnection, MessageGuard};
pub use layer::{
    Dangerous, HeldBody, HeldFuture, HeldStreamsLayer, HeldStreamsService, IdentifyCaller,
    MayStillRun, NotSent, Permit, PolicyLayer, PolicyService, RequestBody, ResponseBody,
    ResponseFuture,
};
#[cfg(feature = "redis")]
pub use limit::RedisLimitStore;
#[cfg(feature = "sqlite")]
pub use limit::SqliteLimitStore;
pub use limit::{
    LimitCharge, LimitConclusion, LimitFilter, LimitReservation, LimitReserved, LimitStore,
    LimitUsage, MemoryLimitStore, StateId,
};
pub use mcp::params::Elicitation;
pub use names::NameError;
pub use policy::{
    Action, Amount, ApprovalDemand, Approver, CalendarUnit, Check, Condition, ConditionStep,
    Decision, DefaultAction, DefinitionError, Diagnostic, Explanation, ExplanationStep,
    Instructions, InvalidArguments, Limit, LimitScope, LimitWindow, ListedTools, LoadError,
    MaxConcurrent, MethodRule, Mode, OnDrift, OnStoreError, Operator, Outcome, Period, Pins,
    Policy, PolicyDocument, Quota, QuotaId, RateLimit, RequireApproval, Rule, RuleAction, Severity,
    Truth, Unwrap, WindowReset, recommend,
};
pub use reload::{LivePolicy, PolicyChanges, PolicySource};
#[cfg(feature = "watch")]
pub use reload::{PolicyFile, PolicyReload};
pub use risk::{
    ActionRisk, Assessment, Collision, CollisionKind, Confidence, DefinitionWarning,
    DefinitionWarningKind, Evidence, EvidencePlace, RiskCategory, RiskSeverity, Siblings,
    ToolDefinition, ToolOfServer, classify, collisions, definition_warnings,
};
pub use rounds::{RequestStateKeyError, RequestStateKeys};
#[cfg(feature = "redis")]
pub use session::RedisSessionStore;
#[cfg(feature = "sqlite")]
pub use session::SqliteSessionStore;
pub use session::{MemorySessionStore, SessionOwner, SessionStore, TaskOwner};
#[cfg(feature = "redis")]
pub use state::RedisState;
#[cfg(feature = "sqlite")]
pub use state::SqliteState;
pub use store::{StoreAnswer, StoreError};

/// Pages about the crate.
pub mod docs {
    #[doc = include_str!("docs/approvals.md")]
    pub mod approvals {}

    #[doc = include_str!("docs/attacks.md")]
    pub mod attacks {}

    #[doc = include_str!("docs/audit.md")]
    pub mod audit {}

    #[doc = include_str!("docs/command_line.md")]
    pub mod command_line {}

    #[doc = include_str!("docs/console.md")]
    pub mod console {}

    #[doc = include_str!("docs/embedding.md")]
    pub mod embedding {}

    #[doc = include_str!("docs/gateway.md")]
    pub mod gateway {}

    #[doc = include_str!("docs/layers.md")]
    pub mod layers {}

    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}

    #[doc = include_str!("docs/performance.md")]
    pub mod performance {}

    #[doc = include_str!("docs/policy.md")]
    pub mod policy {}

    #[doc = include_str!("docs/refusals.md")]
    pub mod refusals {}

    #[doc = include_str!("docs/reload.md")]
    pub mod reload {}

    #[doc = include_str!("docs/threats.md")]
    pub mod threats {}

    #[doc = include_str!("docs/verdicts.md")]
    pub mod verdicts {}

    #[doc = include_str!("docs/writing.md")]
    pub mod writing {}
}

/// The example of the README has to compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

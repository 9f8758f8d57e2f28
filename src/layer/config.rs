use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::budget::Budget;
use super::calls::Calls;
use super::endpoints::Endpoints;
use super::identify::{self, IdentifyCaller};
use super::listeners::Listeners;
use crate::caller::Caller;
use crate::engine::{Engine, asked};
use crate::mcp::reply::Refusal;

/// Everything that the services made by one layer share.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) engine: Engine,
    /// Finds out who calls, before the extensions of the request are asked.
    pub(crate) identify: Option<Arc<dyn IdentifyCaller>>,
    /// Bytes of one request body.
    pub(crate) max_body_size: usize,
    /// Bytes of one answer, or of one event in a stream of them.
    pub(crate) max_response_size: usize,
    /// Bytes of all request bodies that are held.
    pub(crate) requests: Arc<Budget>,
    /// Bytes of all answers that are held.
    pub(crate) responses: Arc<Budget>,
    /// Which calls are under way in which session.
    pub(crate) calls: Arc<Calls>,
    /// How long a call is held that somebody has to approve.
    pub(crate) approval_wait: Duration,
    /// Whether a body may be an array of messages.
    pub(crate) accepts_batches: bool,
    /// Paths whose requests are not judged.
    pub(crate) unguarded_paths: Vec<String>,
    /// Where refusals go that a client hears on another stream.
    pub(crate) endpoints: Arc<Endpoints>,
    /// Who is told that a policy has changed.
    pub(crate) listeners: Arc<Listeners>,
}

/// 4 MiB: what rmcp reads at most, so that nothing passes that it refuses.
const MAX_BODY_SIZE: usize = 4 << 20;
const MAX_RESPONSE_SIZE: usize = 32 << 20;
const REQUEST_BUDGET: usize = 256 << 20;
const RESPONSE_BUDGET: usize = 512 << 20;
/// Less than the time after which clients give up, which is a minute for many.
const APPROVAL_WAIT: Duration = Duration::from_secs(25);

impl Config {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            identify: None,
            max_body_size: MAX_BODY_SIZE,
            max_response_size: MAX_RESPONSE_SIZE,
            requests: Budget::new(REQUEST_BUDGET),
            responses: Budget::new(RESPONSE_BUDGET),
            calls: Arc::default(),
            approval_wait: APPROVAL_WAIT,
            accepts_batches: false,
            unguarded_paths: Vec::new(),
            endpoints: Arc::default(),
            listeners: Arc::default(),
        }
    }

    /// Who sent a request with this head.
    pub(crate) fn caller(&self, head: &Parts) -> Result<Caller, Refusal> {
        let Some(identify) = &self.identify else {
            return Ok(identify::from_extensions(head));
        };
        let caller = asked("caller closure", || identify.identify(head))?;
        Ok(caller.unwrap_or_else(|| identify::from_extensions(head)))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("max_body_size", &self.max_body_size)
            .field("max_response_size", &self.max_response_size)
            .field("unguarded_paths", &self.unguarded_paths)
            .finish_non_exhaustive()
    }
}

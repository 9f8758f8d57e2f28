use std::sync::Arc;

use super::budget::Budget;
use super::endpoints::Endpoints;
use crate::engine::Engine;

/// Everything that the services made by one layer share.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) engine: Engine,
    /// Bytes of one request body.
    pub(crate) max_body_size: usize,
    /// Bytes of one answer, or of one event in a stream of them.
    pub(crate) max_response_size: usize,
    /// Bytes of all request bodies that are held.
    pub(crate) requests: Arc<Budget>,
    /// Bytes of all answers that are held.
    pub(crate) responses: Arc<Budget>,
    /// Paths whose requests are not judged.
    pub(crate) unguarded_paths: Vec<String>,
    /// Where refusals go that a client hears on another stream.
    pub(crate) endpoints: Arc<Endpoints>,
}

/// 4 MiB: what rmcp reads at most, so that nothing passes that it refuses.
const MAX_BODY_SIZE: usize = 4 << 20;
const MAX_RESPONSE_SIZE: usize = 32 << 20;
const REQUEST_BUDGET: usize = 256 << 20;
const RESPONSE_BUDGET: usize = 512 << 20;

impl Config {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            max_body_size: MAX_BODY_SIZE,
            max_response_size: MAX_RESPONSE_SIZE,
            requests: Budget::new(REQUEST_BUDGET),
            responses: Budget::new(RESPONSE_BUDGET),
            unguarded_paths: Vec::new(),
            endpoints: Arc::default(),
        }
    }
}

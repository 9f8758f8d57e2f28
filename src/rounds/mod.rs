//! Calls that take several rounds (2026-07-28): what the client brings back with the
//! next one is sealed, so that only what was given comes back.
//!
//! A call is begun anew in each round. What was approved and charged is remembered in
//! the state that the client sends, and not here: any replica that has the key can go
//! on with it.

mod keys;
mod state;

#[cfg(any(feature = "redis", feature = "sqlite"))]
pub(crate) use keys::random_key;
pub use keys::{RequestStateKeyError, RequestStateKeys};
pub(crate) use state::{Opened, Parties, Round, State, Step, is_sealed};

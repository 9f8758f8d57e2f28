//! The protocol: what a message is, what it names, and how it is answered.
//!
//! Nothing here knows what a policy is.

pub(crate) mod changed;
mod display;
pub(crate) mod fault;
pub(crate) mod headers;
mod key;
pub(crate) mod list;
pub(crate) mod message;
pub(crate) mod method;
pub(crate) mod params;
#[cfg(any(test, fuzzing))]
pub(crate) mod reading;
pub(crate) mod recover;
pub(crate) mod reply;
pub(crate) mod rounds;
pub(crate) mod sse;
mod trace_context;
#[cfg(any(test, fuzzing))]
pub(crate) mod twin;
pub(crate) mod version;

pub(crate) use display::{shown, shown_shared, shown_text, shown_uri};

//! Policies that change while requests are judged by them.
//!
//! [`LivePolicy`] is one that can be replaced, and `PolicyFile` one that is loaded
//! again whenever its file changes.

#[cfg(feature = "watch")]
mod file;
mod live;
#[cfg(feature = "watch")]
mod trail;

#[cfg(feature = "watch")]
pub use file::{PolicyFile, Reload};
pub use live::LivePolicy;

//! Policies that change while requests are judged by them.
//!
//! [`LivePolicy`] is one that can be replaced, [`PolicyFile`] one that is loaded
//! again whenever its file changes, and [`PolicyChanges`] how a source says that
//! something has changed.

mod changes;
#[cfg(feature = "watch")]
mod file;
mod live;
#[cfg(feature = "watch")]
mod trail;

pub use changes::PolicyChanges;
pub(crate) use changes::Watch;

#[cfg(feature = "watch")]
pub use file::{PolicyFile, Reload};
pub use live::LivePolicy;

//! Where policies come from, and policies that change while requests are judged by them.
//!
//! A [`PolicySource`] says whose policy is which.
//! [`LivePolicy`] is one that can be replaced, [`PolicyFile`] one that is loaded
//! again whenever its file changes, and [`PolicyChanges`] how a source says that
//! something has changed.

mod changes;
#[cfg(feature = "watch")]
mod file;
mod live;
mod source;
#[cfg(feature = "watch")]
mod trail;

pub use changes::PolicyChanges;
#[cfg(feature = "watch")]
pub use file::{PolicyFile, PolicyReload};
pub use live::LivePolicy;
pub use source::PolicySource;

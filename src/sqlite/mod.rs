//! One file for several processes, and the one thread of this process that
//! reads and writes it.

mod failure;
mod file;
pub(crate) mod presence;
mod schema;
mod worker;

pub(crate) use failure::{Failure, own};
pub(crate) use file::{Purpose, empty_log, open, store_error};
pub(crate) use worker::{Chore, Reply, Task, Worker};

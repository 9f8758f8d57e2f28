//! One file for several processes, and the one thread of this process that
//! reads and writes it.

mod file;
pub(crate) mod presence;
mod schema;
mod worker;

pub(crate) use file::open;
pub(crate) use worker::{Reply, Task, Worker};

//! One file for several processes, and the one thread of this process that
//! reads and writes it.

mod failure;
mod file;
pub(crate) mod presence;
mod schema;
mod worker;

use std::time::{Duration, SystemTime};

pub(crate) use failure::{Failure, own};
pub(crate) use file::{Purpose, empty_log, open, store_error};
pub(crate) use worker::{Chore, Reply, Task, Worker, no_thread, roll_back};

/// Microseconds, as files hold times; what is before 1970 is taken for it.
pub(crate) fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    in_microseconds(since.unwrap_or_default())
}

pub(crate) fn in_microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

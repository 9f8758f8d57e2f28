//! Where everything is kept together that outlives a process: what limits count, whose
//! session is whose, what waits for an approval, and the key that seals request states.

#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "redis")]
pub use redis::RedisState;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteState;

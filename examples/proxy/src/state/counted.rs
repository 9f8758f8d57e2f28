//! What limits have counted, for operators of the process that counts.

use std::sync::Arc;

use mcp_policy::{
    Clock, LimitStore, MemoryLimitStore, RedisLimitStore, SqliteLimitStore, StoreError,
    SystemClock, Usage, UsageFilter,
};

/// Where limits count; clones share it.
#[derive(Clone)]
pub(crate) enum Counted {
    Memory(Arc<MemoryLimitStore>),
    File(Arc<SqliteLimitStore>),
    Redis(Arc<RedisLimitStore>),
}

/// Which budgets are meant: those of which all that is said is true.
#[derive(Clone, Copy)]
pub(crate) struct MeantBudgets<'a> {
    pub(crate) server: Option<&'a str>,
    pub(crate) policy: Option<&'a str>,
    pub(crate) rule: Option<&'a str>,
    pub(crate) caller: Option<&'a str>,
}

impl MeantBudgets<'_> {
    pub(crate) fn as_filter(self) -> UsageFilter {
        let mut filter = UsageFilter::default();
        if let Some(server) = self.server {
            filter = filter.server(server);
        }
        if let Some(policy) = self.policy {
            filter = filter.policy(policy);
        }
        if let Some(rule) = self.rule {
            filter = filter.place(rule);
        }
        if let Some(caller) = self.caller {
            filter = filter.caller(caller);
        }
        filter
    }
}

impl Counted {
    /// The same for those who count.
    pub(super) fn store(&self) -> Arc<dyn LimitStore> {
        match self {
            Self::Memory(store) => Arc::clone(store) as _,
            Self::File(store) => Arc::clone(store) as _,
            Self::Redis(store) => Arc::clone(store) as _,
        }
    }

    /// Whether it answers. The file is the one in which sessions are, of which that is known
    /// without this.
    pub(crate) async fn answers(&self) -> bool {
        match self {
            Self::Memory(_) | Self::File(_) => true,
            Self::Redis(store) => store.ready().await.is_ok(),
        }
    }

    /// What is counted, of what is meant; no more than so many.
    pub(crate) async fn usage(
        &self,
        filter: &UsageFilter,
        most: usize,
    ) -> Result<Vec<Usage>, StoreError> {
        let now = SystemClock.now();
        match self {
            Self::Memory(store) => {
                let (store, filter) = (Arc::clone(store), filter.clone());
                on_a_thread(move || store.usage(&filter, now, most)).await
            }
            Self::File(store) => store.usage(filter, now, most).await,
            Self::Redis(store) => store.usage(filter, most).await,
        }
    }

    /// Forgets what is counted, of what is meant.
    pub(crate) async fn reset(&self, filter: &UsageFilter) -> Result<(), StoreError> {
        let now = SystemClock.now();
        match self {
            Self::Memory(store) => {
                let (store, filter) = (Arc::clone(store), filter.clone());
                on_a_thread(move || store.reset(&filter, now)).await
            }
            Self::File(store) => store.reset(filter, now).await,
            Self::Redis(store) => store.reset(filter).await,
        }
    }
}

/// There can be very many budgets in memory, and all of them are looked at.
async fn on_a_thread<T: Send + 'static>(
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|error| StoreError::new(error.to_string()))
}

/// In which order budgets are shown.
pub(crate) fn order(usage: &Usage) -> [&str; 5] {
    [
        usage.server(),
        usage.caller().unwrap_or_default(),
        usage.place(),
        usage.policy(),
        usage.session().unwrap_or_default(),
    ]
}

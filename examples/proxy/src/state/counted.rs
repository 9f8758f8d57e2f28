//! What limits have counted, for operators of the process that counts.

use std::{sync::Arc, time::Duration};

use mcp_policy::{LimitFilter, LimitStore, LimitUsage, Moment, StoreAnswer, StoreError};

/// How long a store may take to look through all that it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where limits count; clones share it.
#[derive(Clone)]
pub(crate) struct Counted(Arc<dyn LimitStore>);

/// Which budgets are meant: those of which all that is said is true.
#[derive(Clone, Copy)]
pub(crate) struct MeantBudgets<'a> {
    pub(crate) server: Option<&'a str>,
    pub(crate) policy: Option<&'a str>,
    pub(crate) rule: Option<&'a str>,
    pub(crate) caller: Option<&'a str>,
}

impl MeantBudgets<'_> {
    pub(crate) fn as_filter(self) -> LimitFilter {
        let mut filter = LimitFilter::default();
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
    pub(super) fn of(store: impl LimitStore) -> Self {
        Self(Arc::new(store))
    }

    /// The same for those who count.
    pub(super) fn store(&self) -> Arc<dyn LimitStore> {
        Arc::clone(&self.0)
    }

    /// What is counted, of what is meant; no more than so many.
    pub(crate) async fn usage(
        &self,
        filter: &LimitFilter,
        most: usize,
    ) -> Result<Vec<LimitUsage>, StoreError> {
        let filter = filter.clone();
        self.asked(move |store| store.usage(&filter, Moment::now(), most))
            .await
    }

    /// Forgets what is counted, of what is meant.
    pub(crate) async fn reset(&self, filter: &LimitFilter) -> Result<(), StoreError> {
        let filter = filter.clone();
        self.asked(move |store| store.reset(&filter, Moment::now()))
            .await
    }

    /// On a thread for that: there can be very many budgets in memory, and all of them are
    /// looked at.
    async fn asked<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn LimitStore) -> StoreAnswer<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store();
        let asked = tokio::task::spawn_blocking(move || ask(&*store)).await;
        let answer = asked.map_err(|error| StoreError::new(error.to_string()))?;
        answer.get_within(PATIENCE).await
    }
}

/// In which order budgets are shown.
pub(crate) fn order(usage: &LimitUsage) -> [&str; 5] {
    [
        usage.server(),
        usage.caller().unwrap_or_default(),
        usage.place(),
        usage.policy(),
        usage.session().unwrap_or_default(),
    ]
}

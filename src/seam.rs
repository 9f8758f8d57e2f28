//! What the embedder brought is asked here, and may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Panics of what the embedder brought, by `seam`.
#[cfg(feature = "metrics")]
const PANICS: &str = "mcp_policy_seam_panics_total";

/// What was asked has panicked instead of answering.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Asks something that the embedder brought, and tells if it panics.
pub(crate) fn asked<T>(whom: &'static str, question: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(question)).map_err(|_| {
        seam_panicked(whom);
        Panicked
    })
}

/// Something that the embedder brought has failed: whatever it was asked is
/// refused.
pub(crate) fn seam_panicked(seam: &'static str) {
    tracing::error!(target: "mcp_policy", seam, "panicked; what it was asked is refused");
    #[cfg(feature = "metrics")]
    metrics::counter!(PANICS, "seam" => seam).increment(1);
}

/// Wakes whoever waits. If that panics, others are woken all the same.
pub(crate) fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!(target: "mcp_policy", "what wakes a task has panicked");
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;
    use std::task::{Wake, Waker};

    /// One that panics when it is woken.
    pub(crate) fn panicking_waker() -> Waker {
        struct Panicking;
        impl Wake for Panicking {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }
        Waker::from(Arc::new(Panicking))
    }
}

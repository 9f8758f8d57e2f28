//! When a server that keeps ending may be started again.

use std::time::Duration;

use tokio::time::Instant;

/// A server that ran for this long did not end because of how it starts.
const SOUND: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Counts the starts of one session's server that came to nothing.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    in_a_row: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// The server that was started at `start` has ended, or did not start at all.
    pub(super) fn ended(&mut self, start: Instant) {
        let now = Instant::now();
        if now.saturating_duration_since(start) >= SOUND {
            *self = Self::default();
            return;
        }
        let doubled = 2_u32.saturating_pow(self.in_a_row);
        let delay = SHORTEST.saturating_mul(doubled).min(LONGEST);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.not_before = now.checked_add(delay);
    }

    /// How long the next start has to wait.
    pub(super) fn remaining(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |not_before| {
            not_before.saturating_duration_since(Instant::now())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn each_start_that_fails_delays_the_next_one_longer() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.remaining(), Duration::ZERO);
        let mut delays = Vec::new();
        for _ in 0..9 {
            backoff.ended(Instant::now());
            delays.push(backoff.remaining().as_millis());
            advance(backoff.remaining()).await;
            assert_eq!(backoff.remaining(), Duration::ZERO);
        }
        let expected = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000];
        assert_eq!(delays, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ran_for_long_is_started_again_at_once() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.ended(Instant::now());
        }
        let start = Instant::now();
        advance(SOUND).await;
        backoff.ended(start);
        assert_eq!(backoff.remaining(), Duration::ZERO);
        backoff.ended(Instant::now());
        assert_eq!(backoff.remaining(), SHORTEST);
    }
}

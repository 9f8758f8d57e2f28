//! How long a connection may be without the head of a request, measured with one timer for
//! all of them.
//!
//! hyper begins to wait anew after each answer, and a timer that is set, asked and forgotten
//! with each call takes more than a thousand instructions of it. This one is left as it is
//! when another wait begins; it goes off too early then, and is set again.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Instant,
};

use hyper::rt::{Sleep, Timer};
use tokio::{task::coop::unconstrained, time};

use crate::lock::lock;

/// That of one connection.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Mutex<Option<Set>>>);

struct Set {
    timer: Pin<Box<time::Sleep>>,
    /// Who is woken when it goes off.
    waker: Waker,
}

/// A wait.
struct Until {
    alarm: Alarm,
    end: time::Instant,
}

impl Timer for Alarm {
    fn sleep(&self, duration: time::Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until {
            alarm: self.clone(),
            end: deadline.into(),
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut set = lock(&self.alarm.0);
        let set = set.get_or_insert_with(|| Set {
            timer: Box::pin(time::sleep_until(self.end)),
            waker: Waker::noop().clone(),
        });
        let in_time = set.timer.deadline() <= self.end && !set.timer.is_elapsed();
        if in_time && set.waker.will_wake(context.waker()) {
            return Poll::Pending;
        }
        if set.timer.is_elapsed() && time::Instant::now() >= self.end {
            return Poll::Ready(());
        }
        if !in_time {
            set.timer.as_mut().reset(self.end);
        }
        set.waker.clone_from(context.waker());
        // It has to be set now, however much the task has done in this turn: it is not asked
        // again until it goes off.
        pin!(unconstrained(&mut set.timer)).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};

    use tokio::task::coop::consume_budget;

    /// Begins to wait, in this task.
    async fn begin(wait: &mut Pin<Box<dyn Sleep>>) {
        let begun = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context)));
        assert!(begun.await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_when_it_should_whatever_was_waited_for_before() {
        let alarm = Alarm::default();
        let mut given_up = alarm.sleep(Duration::from_secs(30));
        begin(&mut given_up).await;
        drop(given_up);
        for seconds in [40, 5, 30, 1, 90] {
            let before = time::Instant::now();
            alarm.sleep(Duration::from_secs(seconds)).await;
            let waited = before.elapsed();
            assert_eq!(waited.as_secs(), seconds, "{waited:?}");
        }
    }

    /// What runs by tokio is told to wait when its task has done much in one turn.
    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_whatever_its_task_has_done_before() {
        let alarm = Alarm::default();
        // The first one sets the timer, the others set it anew once it has gone off.
        for seconds in [30, 5, 40] {
            let mut wait = alarm.sleep(Duration::from_secs(seconds));
            poll_fn(|context| {
                while pin!(consume_budget()).poll(context).is_ready() {}
                Poll::Ready(())
            })
            .await;
            begin(&mut wait).await;
            let before = time::Instant::now();
            let ended = time::timeout(Duration::from_secs(100), wait).await;
            assert!(ended.is_ok(), "{seconds}");
            assert_eq!(before.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_last_is_woken() {
        let alarm = Alarm::default();
        let mut wait = alarm.sleep(Duration::from_secs(30));
        begin(&mut wait).await;
        // In a task of its own, which has another waker.
        let before = time::Instant::now();
        tokio::spawn(wait).await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 30);
    }
}

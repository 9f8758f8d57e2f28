//! What the server is made to do, each in one step.

use std::sync::LazyLock;

use redis::Script;

use crate::remote::CLOCK;
#[cfg(test)]
use crate::remote::CLOCK_BY_HAND;

/// The scripts, which go by one clock.
pub(super) struct Scripts {
    pub(super) reserve: Script,
    pub(super) conclude: Script,
    pub(super) renew: Script,
    pub(super) usage: Script,
    pub(super) reset: Script,
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::by(CLOCK));

/// The rest of each script is the same.
#[cfg(test)]
pub(super) static BY_HAND: LazyLock<Scripts> = LazyLock::new(|| Scripts::by(CLOCK_BY_HAND));

impl Scripts {
    pub(super) fn all(&'static self) -> Vec<&'static Script> {
        let Self {
            reserve,
            conclude,
            renew,
            usage,
            reset,
        } = self;
        vec![reserve, conclude, renew, usage, reset]
    }

    fn by(clock: &str) -> Self {
        let script = |end: &str| {
            let parts = [
                clock,
                include_str!("lua/amounts.lua"),
                include_str!("lua/rolling.lua"),
                include_str!("lua/counters.lua"),
                include_str!("lua/budgets.lua"),
                end,
            ];
            Script::new(&parts.join("\n"))
        };
        Self {
            reserve: script(include_str!("lua/reserve.lua")),
            conclude: script(include_str!("lua/conclude.lua")),
            renew: script(include_str!("lua/renew.lua")),
            usage: script(include_str!("lua/usage.lua")),
            reset: script(include_str!("lua/reset.lua")),
        }
    }
}

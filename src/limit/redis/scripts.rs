//! What the server is made to do, each in one step.

use std::sync::LazyLock;

use redis::Script;

/// The scripts, which go by one clock.
pub(super) struct Scripts {
    pub(super) reserve: Script,
    pub(super) conclude: Script,
    pub(super) renew: Script,
    pub(super) usage: Script,
    pub(super) reset: Script,
}

/// By the clock of the server, so that all who ask it go by the same.
pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    Scripts::by(
        "local function clock()
          local time = redis.call('TIME')
          return time[1] * 1000000 + time[2]
        end",
    )
});

/// By a clock that is turned by hand: its time is the last argument. The rest of each
/// script is the same.
#[cfg(test)]
pub(super) static BY_HAND: LazyLock<Scripts> = LazyLock::new(|| {
    Scripts::by(
        "local function clock()
          return tonumber(table.remove(ARGV))
        end",
    )
});

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

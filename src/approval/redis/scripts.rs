//! What the server is made to do, each in one step.

use std::sync::LazyLock;

use redis::Script;

use crate::approval::{
    MOST_BYTES, MOST_ENDED, MOST_IN_FORCE, MOST_IN_FORCE_OF_A_CALLER, MOST_NEW_IN_AN_HOUR,
    MOST_NEW_OF_ALL, MOST_PENDING, MOST_PENDING_OF_A_CALLER,
};
use crate::remote::CLOCK;
#[cfg(test)]
use crate::remote::CLOCK_BY_HAND;

/// The scripts, which go by one clock.
pub(super) struct Scripts {
    pub(super) find: Script,
    pub(super) begin: Script,
    pub(super) change: Script,
    pub(super) list: Script,
    pub(super) hear: Script,
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::by(CLOCK));

/// The rest of each script is the same.
#[cfg(test)]
pub(super) static BY_HAND: LazyLock<Scripts> = LazyLock::new(|| Scripts::by(CLOCK_BY_HAND));

impl Scripts {
    pub(super) fn all(&'static self) -> Vec<&'static Script> {
        let Self {
            find,
            begin,
            change,
            list,
            hear,
        } = self;
        vec![find, begin, change, list, hear]
    }

    fn by(clock: &str) -> Self {
        let bounds = format!(
            "local MOST_PENDING_OF_A_CALLER = {MOST_PENDING_OF_A_CALLER}
            local MOST_PENDING = {MOST_PENDING}
            local MOST_NEW_IN_AN_HOUR = {MOST_NEW_IN_AN_HOUR}
            local MOST_NEW_OF_ALL = {MOST_NEW_OF_ALL}
            local MOST_IN_FORCE = {MOST_IN_FORCE}
            local MOST_IN_FORCE_OF_A_CALLER = {MOST_IN_FORCE_OF_A_CALLER}
            local MOST_BYTES = {MOST_BYTES}
            local MOST_ENDED = {MOST_ENDED}"
        );
        let script = |end: &str| {
            let parts = [clock, &bounds, include_str!("store.lua"), end];
            Script::new(&parts.join("\n"))
        };
        Self {
            find: script(include_str!("find.lua")),
            begin: script(include_str!("begin.lua")),
            change: script(include_str!("change.lua")),
            list: script(include_str!("list.lua")),
            hear: script(include_str!("hear.lua")),
        }
    }
}

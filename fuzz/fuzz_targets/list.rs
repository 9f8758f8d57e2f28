//! Whatever a server answers, and whatever the policy is: what is hidden is seen
//! by nobody, and nothing else changes.
//!
//! A policy document, a NUL, and the answer; without a document that loads, one
//! of our own.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mcp_policy::fuzzing::Filter;
use mcp_policy_fuzz::{clients, drive, entries, mutate};
use serde::de::IgnoredAny;

static OURS: LazyLock<Filter> = LazyLock::new(|| {
    let policy = r#"{
        "version": "1",
        "default": "deny",
        "hide": ["secret", "admin_*"],
        "tools": { "read": {}, "write": { "action": "deny" } },
        "prompts": { "secret": { "action": "hide" } },
        "resources": { "file:///secret/*": { "action": "hide" } }
    }"#;
    Filter::new(drive::policy(policy)).expect("nothing fails here")
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let policy = std::str::from_utf8(first).ok();
    let policy = policy.and_then(|text| text.parse().ok());
    let theirs = policy.and_then(Filter::new);
    let filter = theirs.as_ref().unwrap_or(&OURS);
    check(filter, second.unwrap_or(first));
});

fn check(filter: &Filter, answer: &[u8]) {
    let Some(shown) = filter.filter(answer) else {
        return;
    };
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    assert_eq!(is_json(answer), is_json(&shown));
    assert_eq!(filter.filter(&shown).as_ref(), Some(&shown));
    entries::assert_nothing_else_changed(filter, answer, &shown);
    clients::assert_nothing_hidden(filter, &shown);
}

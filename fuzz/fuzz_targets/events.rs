//! Event streams: where they are cut changes nothing, what is not touched keeps
//! its bytes, and no client finds in them what is hidden.
//!
//! A byte that says by which request, cuts, a NUL, and the stream.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_policy::PolicyLayer;
use mcp_policy::fuzzing::{Filter, split};
use mcp_policy_fuzz::stream::Event;
use mcp_policy_fuzz::{clients, drive, stream};

const POLICY: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["secret"],
    "tools": { "read": {} }
}"#;

static FILTER: LazyLock<Filter> =
    LazyLock::new(|| Filter::new(drive::policy(POLICY)).expect("nothing fails here"));
static LAYER: LazyLock<PolicyLayer> = LazyLock::new(|| PolicyLayer::new(drive::policy(POLICY)));

/// More than any input has.
const LIMIT: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (Some(how), Some(text)) = (parts.next(), parts.next()) else {
        return;
    };
    let (get, cuts) = match how {
        [first, cuts @ ..] => (first & 1 == 1, cuts),
        [] => (false, how),
    };

    let (expected, events) = stream::pass(text, &mut judge);
    let mut seen = Vec::new();
    let pieces = split(drive::cut(text, cuts), LIMIT, |name, data| {
        let event = Event {
            name: name.to_vec(),
            data: data.to_vec(),
        };
        let verdict = judge(&event);
        seen.push(event);
        verdict
    });
    let passed = pieces.expect("nothing is too long").concat();
    assert_eq!(
        passed.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(seen, events);

    let shown = drive::shown(&LAYER, get, drive::cut(text, cuts));
    let at_once = drive::shown(&LAYER, get, drive::cut(text, &[]));
    assert_eq!(
        shown.escape_ascii().to_string(),
        at_once.escape_ascii().to_string()
    );
    for data in stream::data(&shown) {
        clients::assert_nothing_hidden(&FILTER, &data);
    }
});

/// Leaves out what holds `drop`, and rewrites what holds `swap`.
fn judge(event: &Event) -> Option<Vec<u8>> {
    let holds = |word: &[u8]| event.data.windows(word.len()).any(|text| text == word);
    if holds(b"drop") {
        return None;
    }
    Some(if holds(b"swap") {
        b"swapped\nfor two lines".to_vec()
    } else {
        event.data.clone()
    })
}

//! The reader of messages gives what a slow one gives, whatever it is given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_policy::fuzzing::{read, read_slowly};

fuzz_target!(|body: &[u8]| {
    assert_eq!(read(body), read_slowly(body));
});

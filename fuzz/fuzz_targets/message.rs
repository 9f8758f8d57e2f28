//! The reader of messages gives what a slow one gives, whatever it is given.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mcp_policy::fuzzing::{read, read_slowly};
use mcp_policy_fuzz::mutate;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

fuzz_target!(|body: &[u8]| {
    assert_eq!(read(body), read_slowly(body));
});

//! A policy document loads, or is refused with reasons; what loads can be
//! written and loads again as the same.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mcp_policy::{Action, Policy};
use mcp_policy_fuzz::mutate;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::in_place(data, size, max_size, seed)
});

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match text.parse::<Policy>() {
        Err(error) => {
            assert!(!error.diagnostics().is_empty());
            assert!(!error.to_string().is_empty());
            for diagnostic in error.diagnostics() {
                assert!(text.get(diagnostic.span()).is_some(), "{diagnostic:?}");
                assert!(!diagnostic.message().is_empty());
            }
        }
        Ok(policy) => {
            let document = policy.document();
            let again: Policy = document.to_json_string().parse().expect("it loaded once");
            assert_eq!(again.document(), document);
            assert_eq!(
                again.digest(),
                Policy::try_from(document.clone()).expect("so too").digest()
            );
            decide(&policy, &again, text);
        }
    }
});

/// Both decide alike about every word of the document.
fn decide(policy: &Policy, again: &Policy, text: &str) {
    for word in text.split('"').take(64) {
        for action in [
            Action::call_tool(word),
            Action::get_prompt(word),
            Action::read_resource(word),
            Action::other_method(word),
        ] {
            assert_eq!(policy.decide(&action), again.decide(&action));
        }
    }
}

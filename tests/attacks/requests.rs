//! One test for each row that `cases.json` has requests for.

use crate::cases::hold;

macro_rules! rows {
    ($($name:ident $row:literal)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                hold($row).await;
            }
        )*

        /// The rows above.
        pub(crate) const ROWS: &[&str] = &[$($row),*];
    };
}

rows! {
    r01_keys_that_readers_differ_on "R1"
    r02_escapes_are_resolved "R2"
    r03_only_utf_8 "R3"
    r04_only_json "R4"
    r05_deep_and_large "R5"
    r06_no_content_coding "R6"
    r07_only_json_by_its_type "R7"
    r08_no_batches "R8"
    r09_no_calls_without_an_id "R9"
    r10_only_ids_that_survive "R10"
    r11_no_hybrids "R11"
    r12_responses_run_nothing "R12"
    r13_headers_say_what_the_body_says "R13"
    r14_no_era_is_looser "R14"
    r15_unknown_methods "R15"
    r16_methods_by_their_bytes "R16"
    r17_names_by_their_bytes "R17"
    r18_parameters_of_the_wrong_type "R18"
    r19_tasks "R19"
    r20_retries_are_calls "R20"
    r21_prompts_and_resources "R21"
    r22_log_level "R22"
    r23_questions_of_servers "R23"
    r25_end_of_a_session "R25"
    r26_only_the_verbs_of_the_transport "R26"
    r27_framing_and_targets "R27"
    r28_no_other_protocol "R28"
    r29_other_endpoints "R29"
    r30_tokens_in_the_query "R30"
    r31_trailers_and_expectations "R31"
    r32_numbers_go_on_as_they_are "R32"
    t01_case_variants "T1"
    t02_duplicate_keys "T2"
    t03_keys_with_a_nul "T3"
    t04_keys_of_the_envelope "T4"
    t05_arguments_that_are_no_object "T5"
    t06_content_types "T6"
    t07_batches "T7"
    t08_headers_against_the_body "T8"
    t09_downgrades "T9"
    t19_look_alike_names "T19"
    t28_foreign_request_state "T28"
    t31_tools_that_call_tools "T31"
    t36_resources_on_every_way "T36"
    t37_denial_of_service "T37"
    t39_forged_headers "T39"
    t40_ids "T40"
    t44_refusals_that_clients_understand "T44"
}

//! The requests of `cases.json` once more, on a layer that accepts batches: the
//! body of each in an array.

use crate::cases::{Case, Era, File, RawRequest, Target};

const PING: &str = r#"{"jsonrpc":"2.0","id":"beside","method":"ping"}"#;

/// One array more, and it is too deep.
const AT_THE_LIMIT: &str = "arrays nested 64 deep altogether";

/// Text as readers of other encodings than UTF-8 would read it, too.
const ENCODINGS: [fn(&str) -> Vec<u8>; 3] = [
    |text| text.as_bytes().to_vec(),
    |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
];

/// A body in arrays: by itself, and before and behind something harmless.
fn arrays(body: &[u8]) -> Vec<Vec<u8>> {
    // Text in the others has NULs in it.
    let others = if body.contains(&0) { 2 } else { 0 };
    ENCODINGS
        .iter()
        .take(1 + others)
        .flat_map(|encode| {
            [
                ("[", "]"),
                (&*format!("[{PING}, "), "]"),
                ("[", &*format!(" ,{PING}]")),
            ]
            .map(|(before, after)| [&encode(before), body, &encode(after)].concat())
        })
        .collect()
}

/// Whether a call that is allowed by itself is a message of a batch as well.
fn runs_in_a_batch(case: &Case, index: usize) -> bool {
    let names_one = |request: &RawRequest| request.has("mcp-method") || request.has("mcp-name");
    case.executes && case.era == Era::Legacy && (index == 0 || !names_one(&case.request))
}

/// What is executed of every case in every array that differs from what has to
/// be.
async fn faults(
    target: &Target,
    policy: &str,
    is_right: impl Fn(&[String], &[String]) -> bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    for case in File::read().cases {
        let body = case.request.plain_body();
        let Some(body) = body.filter(|_| case.is_for(policy) && case.title != AT_THE_LIMIT) else {
            continue;
        };
        for (index, array) in arrays(&body).into_iter().enumerate() {
            let bytes = case.request.with(Some(array));
            target.send_bytes(&bytes, &case.request.method).await;
            let expected = match runs_in_a_batch(&case, index) {
                true => case.expected(),
                false => Vec::new(),
            };
            let executed = target.executed();
            if !is_right(&executed, &expected) {
                faults.push(format!("{} ({policy}, {index}): {executed:?}", case.title));
            }
        }
    }
    faults
}

#[tokio::test]
async fn r08_what_is_refused_is_refused_in_an_array() {
    let file = File::read();
    for policy in file.policies.keys() {
        let layer = file.policy(policy).accept_batches();
        let target = Target::guarded(&layer).await;
        let faults = faults(&target, policy, |executed, expected| executed == expected).await;
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// Without the layer the server falls for it, so that the test can fail.
#[tokio::test]
async fn the_lenient_server_executes_arrays() {
    let target = Target::bare().await;
    let is_right = |executed: &[String], _: &[String]| !executed.contains(&"danger".to_owned());
    let executed = faults(&target, "standard", is_right).await.len();
    assert!(executed > 500, "{executed}");
}

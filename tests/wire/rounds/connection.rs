//! The same on a connection that is not HTTP.

use mcp_policy::{FromClient, FromServer, MessageConnection, MessageGuard};

use super::*;

fn guard() -> (MessageGuard, Approvals) {
    let store = Arc::new(MemoryApprovalStore::default());
    let guard = MessageGuard::new(POLICY.parse().unwrap()).approval_store(Arc::clone(&store));
    (guard, Approvals::new(store))
}

/// What the server is sent; an error is what the client is told instead.
async fn sent(connection: &MessageConnection, message: &Value) -> Result<Value, Value> {
    match connection.from_client(message.to_string().as_bytes()).await {
        FromClient::Forward => Ok(message.clone()),
        FromClient::Replace(message) => Ok(serde_json::from_slice(&message).unwrap()),
        FromClient::Refuse(answer) => Err(serde_json::from_slice(&answer).unwrap()),
        other => panic!("{other:?}"),
    }
}

async fn answered(connection: &MessageConnection, answer: String) -> Value {
    match connection.from_server(answer.as_bytes()).await {
        FromServer::Forward => serde_json::from_str(&answer).unwrap(),
        FromServer::Replace(answer) => serde_json::from_slice(&answer).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_round_is_neither_approved_nor_charged_again_on_a_connection() {
    let (guard, approvals) = guard();
    let connection = guard.connect(Caller::new("alice"));
    let server = asking(1);
    let first = call("both");
    refused(&sent(&connection, &first).await.unwrap_err());
    let pending = approvals.list(&[ApprovalState::Pending]).await.unwrap();
    approvals.approve(pending[0].id(), "dora").await.unwrap();
    let seen = sent(&connection, &first).await.unwrap();
    assert_eq!(seen, first);
    let state = state_of(&answered(&connection, server(&seen)).await);
    assert_ne!(state, "server-1");

    let said = json!({"name": {"action": "accept"}});
    let second = again(&first, &state, Some(said.clone()));
    let seen = sent(&connection, &second).await.unwrap();
    assert_eq!(seen, again(&first, &json!("server-1"), Some(said)));
    passed(&answered(&connection, server(&seen)).await);
    // Once.
    let told = sent(&connection, &again(&first, &state, None)).await;
    let text = refused(&told.unwrap_err());
    assert!(text.contains("No more than 1"), "{text}");
}

#[tokio::test]
async fn a_state_that_somebody_else_was_given_is_refused_on_a_connection() {
    let (guard, _) = guard();
    let [alice, bob] = ["alice", "bob"].map(|name| guard.connect(Caller::new(name)));
    let first = call("twice");
    let seen = sent(&alice, &first).await.unwrap();
    let state = state_of(&answered(&alice, asking(1)(&seen)).await);
    let second = again(&first, &state, None);
    not_ours(&sent(&bob, &second).await.unwrap_err());
    sent(&alice, &second).await.unwrap();
    assert_eq!(
        bob.from_client(first.to_string().as_bytes()).await,
        FromClient::Forward
    );
}

#[tokio::test]
async fn what_a_server_is_given_back_of_its_own_is_one_message_to_every_reader() {
    let (guard, _) = guard();
    let connection = guard.connect(Caller::new("alice"));
    let first = call("twice");
    sent(&connection, &first).await.unwrap();
    let answer = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"resultType\":\"input_required\",\
                  \"requestState\":{\"a\":\r1}}}";
    let state = state_of(&answered(&connection, answer.to_owned()).await);
    let second = again(&first, &state, None).to_string();
    let FromClient::Replace(seen) = connection.from_client(second.as_bytes()).await else {
        panic!("the server sees our state");
    };
    assert!(!seen.contains(&b'\r'));
    let seen: Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["params"]["requestState"], json!({"a": 1}));
}

/// Nobody can tell which of them an answer is for: else what one call was approved for would be
/// good for a second time, because the server asked for more of the other.
#[tokio::test]
async fn of_two_calls_with_one_id_no_round_goes_on_with_what_was_approved() {
    for is_pushed_out in [false, true] {
        let (guard, approvals) = guard();
        let connection = guard.connect(Caller::new("alice"));
        let (approved, other) = (call("ask"), call("free"));
        refused(&sent(&connection, &approved).await.unwrap_err());
        let pending = approvals.list(&[ApprovalState::Pending]).await.unwrap();
        approvals.approve(pending[0].id(), "dora").await.unwrap();
        if is_pushed_out {
            sent(&connection, &other).await.unwrap();
            for id in 1_000..2_100 {
                let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
                sent(&connection, &ping).await.unwrap();
            }
            sent(&connection, &approved).await.unwrap();
        } else {
            sent(&connection, &approved).await.unwrap();
            sent(&connection, &other).await.unwrap();
        }
        let state = state_of(&answered(&connection, asking(1)(&other)).await);
        let told = sent(&connection, &again(&approved, &state, None)).await;
        refused(&told.unwrap_err());
        assert_eq!(
            approvals
                .list(&[ApprovalState::Pending])
                .await
                .unwrap()
                .len(),
            1,
            "somebody is asked again"
        );
    }
}

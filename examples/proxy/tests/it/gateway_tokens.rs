//! Callers of a gateway who have tokens of an issuer.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    fake::{Asked, Upstream},
    gateway::{ASKS, Folder, Recording, approve, one_that_waits, outcome, request},
    issuer::{self, Signer},
    support::{Answer, Proxy, body, call, open, read, send, within},
};

/// As RFC 8414 has it, which is asked for first.
const METADATA: &str = "/.well-known/oauth-authorization-server/realms/agents";

/// An issuer with one key.
struct Issuer {
    issuer: issuer::Issuer,
    key: Signer,
}

impl Issuer {
    async fn start() -> Self {
        let key = Signer::ec("a");
        let issuer = issuer::Issuer::start(METADATA, &[&key]).await;
        Self { issuer, key }
    }

    /// A token for this server, with these claims besides.
    fn token(&self, server: &str, more: &Value) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.issuer.name(), "sub": "alice", "exp": now + 300,
            "aud": format!("https://gateway.example.com/x/mcp/{server}"), "scope": "use",
            "team": "ops",
        });
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        self.key.sign(&claims)
    }

    /// A gateway in front of two servers, of which only the first asks for such tokens.
    fn gateway(&self, first: &str, second: &str) -> Folder {
        Folder::new(&format!(
            r#"
listen = "127.0.0.1:0"
public_url = "https://gateway.example.com/x"
audit = "audit.jsonl"
[servers.first]
url = "{first}"
policy = "operators.json"
jwt = {{ issuer = "{issuer}", scopes = ["use"] }}
[servers.second]
url = "{second}"
policy = "readers.json"
jwt = {{ issuer = "{issuer}", audience = "second" }}
"#,
            issuer = self.issuer.name(),
        ))
    }
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap()
}

async fn writes(proxy: &Proxy, token: Option<&str>) -> Answer {
    let mut request = Request::post(format!("http://{}/mcp/first", proxy.address))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(request.body(body(&call(1, "write"))).unwrap()).await
}

#[tokio::test]
async fn whoever_has_a_token_of_the_issuer_is_let_in_by_its_claims() {
    let (issuer, first) = (Issuer::start().await, Recording::start().await);
    let folder = issuer.gateway(&first.url, &first.url);
    let proxy = folder.serve().await;
    let ops = issuer.token("first", &json!({}));
    assert_eq!(outcome(&proxy, "first", &ops, "write").await, "allowed");
    assert_eq!(
        outcome(&proxy, "first", &ops, "read").await,
        "(default deny)"
    );
    let others = issuer.token("first", &json!({ "team": "sales" }));
    let refused = outcome(&proxy, "first", &others, "write").await;
    assert!(refused.starts_with("/tools/write/require"), "{refused}");
    let second = issuer.token("second", &json!({ "aud": ["first", "second"] }));
    assert_eq!(outcome(&proxy, "second", &second, "read").await, "allowed");
    let came = first.came();
    assert_eq!(came.len(), 2);
    let audit = std::fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    let alice = format!(r#""caller":"{}#alice""#, issuer.issuer.name());
    assert!(audit.contains(&alice), "{audit}");
    // Nobody else gets to see a token.
    for token in [&ops, &others, &second] {
        let signature = token.rsplit('.').next().unwrap();
        for text in [format!("{came:?}"), audit.clone(), proxy.log()] {
            assert!(!text.contains(signature), "{text}");
        }
    }
}

#[tokio::test]
async fn whoever_has_none_is_told_where_to_get_one() {
    let (issuer, first) = (Issuer::start().await, Recording::start().await);
    let folder = issuer.gateway(&first.url, &first.url);
    let proxy = folder.serve().await;
    let answer = writes(&proxy, None).await;
    assert_eq!(answer.status(), 401);
    let said = challenge(&answer).to_owned();
    let metadata = "https://gateway.example.com/.well-known/oauth-protected-resource/x/mcp/first";
    assert!(
        said.contains(&format!("resource_metadata=\"{metadata}\"")),
        "{said}"
    );
    assert!(
        said.contains("scope=\"use\"") && !said.contains("error"),
        "{said}"
    );
    for prefix in ["/x", ""] {
        let path = format!("/.well-known/oauth-protected-resource{prefix}/mcp/first");
        let url = format!("http://{}{path}", proxy.address);
        let found = send(Request::get(url).body(Full::default()).unwrap()).await;
        assert_eq!(found.status(), 200);
        let expected = json!({
            "resource": "https://gateway.example.com/x/mcp/first", "resource_name": "first",
            "authorization_servers": [issuer.issuer.name()],
            "bearer_methods_supported": ["header"], "scopes_supported": ["use"],
        });
        assert_eq!(found.json(), expected);
    }
    let nothing = format!(
        "http://{}/.well-known/oauth-protected-resource/mcp/none",
        proxy.address
    );
    let nothing = send(Request::get(nothing).body(Full::default()).unwrap()).await;
    assert_eq!(nothing.status(), 404);
    for (token, error) in [
        (issuer.token("second", &json!({})), "invalid_token"),
        (issuer.token("first", &json!({ "exp": 1 })), "invalid_token"),
        (
            issuer.token("first", &json!({ "iss": "https://a" })),
            "invalid_token",
        ),
        (
            Issuer::start().await.token("first", &json!({})),
            "invalid_token",
        ),
        ("mcpp_0123".to_owned(), "invalid_token"),
        ("\u{e9}".to_owned(), "invalid_token"),
    ] {
        let answer = writes(&proxy, Some(&token)).await;
        assert_eq!(answer.status(), 401, "{token}");
        let said = challenge(&answer);
        assert!(said.contains(&format!("error=\"{error}\"")), "{said}");
        assert!(
            said.contains("resource_metadata=") && !said.contains(&token),
            "{said}"
        );
        assert!(answer.json()["error"]["message"].is_string());
    }
    // Another token is the cure, and only of this.
    let answer = writes(
        &proxy,
        Some(&issuer.token("first", &json!({ "scope": "other" }))),
    )
    .await;
    assert_eq!(answer.status(), 403);
    let said = challenge(&answer);
    assert!(
        said.contains("error=\"insufficient_scope\"") && said.contains("scope=\"use\""),
        "{said}"
    );
    assert!(first.came().is_empty());
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_it_was_opened_with() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::bind().await);
    let url = format!("http://{}/mcp", upstream.address());
    let folder = issuer.gateway(&url, &url);
    let proxy = folder.serve().await;
    let opening = |token: &str| opening(&proxy, token);
    let (mut asked, expires, stream) = in_time(&issuer, &upstream, opening).await;
    asked.stream().await;
    let stream = within("the stream", stream).await.unwrap();
    assert_eq!(stream.status(), 200);
    let _ = within("the end of the stream", stream.into_body().collect()).await;
    let now = Timestamp::now();
    assert!(now > expires - Duration::from_secs(1), "{now} {expires}");
}

/// For how many seconds tokens last: whoever is too slow for one gets another one.
const LASTING: [i64; 3] = [4, 8, 16];

/// A token that lasts for so many seconds, and when it expires: 30 s later than it says.
fn lasting(issuer: &Issuer, seconds: i64) -> (String, Timestamp) {
    let exp = Timestamp::now().as_second() + seconds - 30;
    let expires = Timestamp::from_second(exp + 30).unwrap();
    (issuer.token("first", &json!({ "exp": exp })), expires)
}

fn opening(proxy: &Proxy, token: &str) -> Request<Full<Bytes>> {
    let mut opening = request(proxy, "first", token)
        .body(Full::default())
        .unwrap();
    *opening.method_mut() = http::Method::GET;
    opening
}

/// What came to the upstream with a token that expires soon, when that is, and who waits for
/// the answer.
async fn in_time(
    issuer: &Issuer,
    upstream: &Upstream,
    asks: impl Fn(&str) -> Request<Full<Bytes>>,
) -> (Asked, Timestamp, JoinHandle<Response<Incoming>>) {
    for seconds in LASTING {
        let (token, expires) = lasting(issuer, seconds);
        let mut answering = tokio::spawn(open(asks(&token)));
        tokio::select! {
            asked = upstream.asked() => return (asked, expires, answering),
            answer = &mut answering => assert_eq!(answer.unwrap().status(), 401),
        }
    }
    panic!("no token lasts long enough");
}

async fn is_over(expires: Timestamp) {
    while Timestamp::now() < expires + Duration::from_millis(100) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// However long it took to open.
#[tokio::test]
async fn a_stream_that_opens_after_its_token_has_expired_carries_nothing() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::bind().await);
    let url = format!("http://{}/mcp", upstream.address());
    let folder = issuer.gateway(&url, &url);
    let proxy = folder.serve().await;
    let opening = |token: &str| opening(&proxy, token);
    let (mut asked, expires, stream) = in_time(&issuer, &upstream, opening).await;
    is_over(expires).await;
    asked.stream().await;
    asked.chunk("event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n").await;
    let answer = read(within("the stream", stream).await.unwrap()).await;
    assert_eq!((answer.status(), &*answer.text), (200, ""));
}

/// Else no call could take longer than a token lasts.
#[tokio::test]
async fn a_call_that_was_made_in_time_is_answered_after_its_token_has_expired() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::bind().await);
    let url = format!("http://{}/mcp", upstream.address());
    let folder = issuer.gateway(&url, &url);
    let proxy = folder.serve().await;
    let calling = |token: &str| {
        let calling = request(&proxy, "first", token).body(body(&call(7, "write")));
        calling.unwrap()
    };
    let (mut asked, expires, answer) = in_time(&issuer, &upstream, calling).await;
    asked.stream().await;
    is_over(expires).await;
    asked
        .chunk(
            "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n\n",
        )
        .await;
    asked.write("0\r\n\r\n").await;
    let answer = read(within("the answer", answer).await.unwrap()).await;
    assert!(answer.text.contains("\"id\":7"), "{}", answer.text);
}

#[tokio::test]
async fn a_call_that_is_approved_after_its_token_has_expired_is_not_made() {
    let (issuer, first) = (Issuer::start().await, Recording::start().await);
    let folder = issuer.gateway(&first.url, &first.url);
    folder.put("operators.json", ASKS);
    folder.put(
        "gateway.toml",
        &format!("admin = \"127.0.0.1:0\"\n{}", folder.text()),
    );
    let proxy = folder.serve_operated().await;
    let mut lasting = LASTING.iter().map(|seconds| lasting(&issuer, *seconds));
    let (waiting, expires, held) = loop {
        let (token, expires) = lasting.next().expect("no token lasts long enough");
        let held = request(&proxy, "first", &token).body(body(&call(7, "pay")));
        let mut held = tokio::spawn(send(held.unwrap()));
        tokio::select! {
            waiting = one_that_waits(&proxy) => break (waiting, expires, held),
            answer = &mut held => assert_eq!(answer.unwrap().status(), 401),
        }
    };
    is_over(expires).await;
    approve(&proxy, &waiting).await;
    let answer = held.await.unwrap();
    assert_eq!(answer.json()["id"], 7);
    assert!(
        answer.text.contains("token of this call has expired"),
        "{}",
        answer.text
    );
    assert!(first.came().is_empty());
}

#[tokio::test]
async fn one_caller_with_a_token_is_locked_out() {
    let (issuer, first) = (Issuer::start().await, Recording::start().await);
    let folder = issuer.gateway(&first.url, &first.url);
    let proxy = folder.serve().await;
    let alice = issuer.token("first", &json!({}));
    let bob = issuer.token("first", &json!({ "sub": "bob" }));
    let caller = format!("{}#alice", issuer.issuer.name());
    let locked = "/tools/*/action";
    for name in [&*caller, "alice"] {
        let said = folder.succeeds(&["lockdown", "on", "--caller", name]).await;
        assert_eq!(said, format!("locked down: caller {name}"));
        assert_eq!(outcome(&proxy, "first", &alice, "write").await, locked);
        assert_eq!(outcome(&proxy, "first", &bob, "write").await, "allowed");
        folder
            .succeeds(&["lockdown", "off", "--caller", name])
            .await;
        assert_eq!(outcome(&proxy, "first", &alice, "write").await, "allowed");
    }
    let other = [
        "lockdown",
        "on",
        "--caller",
        "https://login.example.com#alice",
    ];
    folder.succeeds(&other).await;
    assert_eq!(outcome(&proxy, "first", &alice, "write").await, "allowed");
}

#[tokio::test]
async fn without_the_keys_of_the_issuer_nobody_is_let_in() {
    let (mut issuer, first) = (Issuer::start().await, Recording::start().await);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    issuer.issuer.address = gone.local_addr().unwrap();
    drop(gone);
    let folder = issuer.gateway(&first.url, &first.url);
    let proxy = folder.serve().await;
    let answer = writes(&proxy, Some(&issuer.token("first", &json!({})))).await;
    assert_eq!(
        (answer.status(), answer.header("retry-after")),
        (503, Some("10"))
    );
    assert!(answer.header("www-authenticate").is_none());
    proxy.logs("cannot get the keys of the issuer").await;
    assert!(first.came().is_empty());
}

/// A configuration that asks for other tokens is one from the next call on.
#[tokio::test]
async fn other_tokens_are_asked_for_from_the_next_call_on() {
    let (issuer, first) = (Issuer::start().await, Recording::start().await);
    let folder = issuer.gateway(&first.url, &first.url);
    let proxy = folder.serve().await;
    let token = issuer.token("first", &json!({}));
    assert_eq!(outcome(&proxy, "first", &token, "write").await, "allowed");
    let stricter = folder
        .text()
        .replace("scopes = [\"use\"]", "scopes = [\"use\", \"more\"]");
    folder.put("gateway.toml", &stricter);
    let denied = request(&proxy, "first", &token)
        .body(body(&call(1, "write")))
        .unwrap();
    assert_eq!(send(denied).await.status(), 403);
    let more = issuer.token("first", &json!({ "scope": "more use" }));
    assert_eq!(outcome(&proxy, "first", &more, "write").await, "allowed");
    // Without them it would be for everybody, which nobody who has a token is told.
    let open = stricter.replace("jwt = { issuer", "# jwt = { issuer");
    folder.put("gateway.toml", &open);
    assert_eq!(
        outcome(&proxy, "first", "nothing", "write").await,
        "/tools/write/require/caller.claims.team-eq"
    );
}

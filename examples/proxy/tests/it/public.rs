//! What callers see of a request for approval, on their own address.

use http::{Method, Request};
use http_body_util::Full;

use crate::approvals::{Asking, asks, paying};
use crate::support::{Answer, command, file, send, within};

const UNKNOWN: &str = "00112233445566778899aabbccddeeff";

async fn requests(asking: &Asking, method: Method, path: &str, host: Option<&str>) -> Answer {
    let url = format!("http://{}{path}", asking.proxy.address);
    let mut request = Request::builder().method(method).uri(url);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    send(request.body(Full::default()).unwrap()).await
}

async fn gets(asking: &Asking, path: &str) -> Answer {
    requests(asking, Method::GET, path, Some("gateway.example.com")).await
}

#[tokio::test]
async fn a_page_says_what_became_of_a_request_and_nothing_else() {
    let asking = Asking::with(&["--public-url", "https://gateway.example.com/gw/"]).await;
    let unknown = gets(&asking, &format!("/gw/approvals/{UNKNOWN}")).await;
    assert_eq!(unknown.status(), 404);
    assert!(
        unknown.text.contains("Nothing waits here"),
        "{}",
        unknown.text
    );
    for odd in ["x", "", &format!("{UNKNOWN}/approve"), "../mcp"] {
        let odd = gets(&asking, &format!("/gw/approvals/{odd}")).await;
        assert_eq!((odd.status(), odd.text), (404, unknown.text.clone()));
    }
    let operator = async {
        let id = asking.waiting_id().await;
        let path = format!("/gw/approvals/{id}");
        let page = gets(&asking, &path).await;
        assert_eq!(page.status(), 200);
        assert!(page.text.contains("Waiting for approval"), "{}", page.text);
        for (name, part) in [
            ("content-type", "text/html"),
            ("content-security-policy", "default-src 'none'"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert!(page.header(name).unwrap().contains(part), "{name}");
        }
        for secret in ["pay", "hunter2", "Money", "127.0.0.1", &id] {
            assert!(!page.text.contains(secret), "{secret} is in {}", page.text);
        }
        // Nowhere else, and for nobody who calls it by another name.
        for path in [
            &format!("/approvals/{id}"),
            &format!("/gw/approvals/{id}/"),
            "/gw/approvals",
        ] {
            let other = gets(&asking, path).await;
            assert_eq!(other.status(), 404, "{path}");
        }
        let post = requests(&asking, Method::POST, &path, None).await;
        assert_eq!(post.status(), 404);
        let foreign = requests(&asking, Method::GET, &path, Some("evil.example")).await;
        assert_eq!(foreign.status(), 403);
        assert_eq!(
            requests(&asking, Method::GET, &path, None).await.status(),
            200
        );
        asking.succeeds(&["deny", &id, "--note", "hunter2"]).await;
        id
    };
    let (_, id) = tokio::join!(asks(&asking.proxy, paying(r#"{"a":"hunter2"}"#)), operator);
    let page = gets(&asking, &format!("/gw/approvals/{id}")).await;
    assert!(
        page.text.contains("Denied") && !page.text.contains("hunter2"),
        "{}",
        page.text
    );
    let style = gets(&asking, "/gw/assets/console.css").await;
    assert_eq!(
        (style.status(), style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    assert_eq!(gets(&asking, "/gw/assets/console.js").await.status(), 404);
}

/// Where it waits does not matter to those who look at it.
#[tokio::test]
async fn what_waits_in_a_file_has_the_same_pages() {
    let state = format!("sqlite:{}", file("state.db", "").display());
    let more = [
        "--public-url",
        "https://gateway.example.com",
        "--state",
        &state,
    ];
    let asking = Asking::with(&more).await;
    let operator = async {
        let id = asking.waiting_id().await;
        let page = gets(&asking, &format!("/approvals/{id}")).await;
        assert!(page.text.contains("Waiting for approval"), "{}", page.text);
        asking.succeeds(&["deny", &id]).await;
    };
    tokio::join!(asks(&asking.proxy, paying("{}")), operator);
}

#[tokio::test]
async fn without_a_public_url_there_is_no_page() {
    let asking = Asking::start().await;
    let path = format!("/approvals/{UNKNOWN}");
    let answer = requests(&asking, Method::GET, &path, None).await;
    assert_eq!(answer.status(), 404);
    assert!(
        answer.text.contains("The MCP endpoint is /mcp"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_public_url_that_is_none_is_refused() {
    for url in [
        "gateway.example.com",
        "http://gateway.example.com",
        "https://a@b/",
    ] {
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--public-url", url]);
        command.args([
            "--upstream",
            "http://127.0.0.1:9/mcp",
            "--policy",
            "none.json",
        ]);
        let output = within("its end", command.output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`--public-url` "), "{said}");
    }
}

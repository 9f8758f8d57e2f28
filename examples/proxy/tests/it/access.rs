//! Who is let in, and which of their headers go on.

use http::Request;
use http_body_util::Full;

use crate::fake::Upstream;
use crate::support::{Answer, Proxy, body, call, send};

async fn with_header(proxy: &Proxy, name: &str, value: &str) -> Answer {
    let request = proxy.request().header(name, value);
    send(request.body(body(&call(1, "a"))).unwrap()).await
}

#[tokio::test]
async fn t38_a_foreign_host_or_origin_is_refused() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
        ("host", "localhost.evil.example:8787"),
        ("host", "evil@127.0.0.1"),
        ("host", "127.0.0.1:port"),
        ("host", "127.0.0.1:"),
        ("host", ""),
        ("origin", "https://evil.example"),
        ("origin", "http://localhost:8787"),
        ("origin", "null"),
        ("origin", ""),
    ] {
        let answer = with_header(&proxy, name, value).await;
        assert_eq!(answer.status(), 403, "{name}: {value}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        assert_eq!(body["jsonrpc"], "2.0");
        assert!(body["error"]["code"].is_i64());
        assert!(body.get("id").is_none(), "{body}");
        assert!(!answer.text.contains("evil"), "{body}");
    }
}

#[tokio::test]
async fn a_page_of_the_proxy_itself_may_call() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    let own = format!("http://{}", proxy.address);
    let (answer, _) = tokio::join!(with_header(&proxy, "origin", &own), upstream.answers());
    assert_eq!(answer.status(), 200);
    let other_port = with_header(&proxy, "origin", "http://127.0.0.1:1").await;
    assert_eq!(other_port.status(), 403);
}

#[tokio::test]
async fn own_names_are_served_with_any_port() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(
        upstream.address(),
        &[
            "--allowed-host",
            "MCP.example",
            "--allowed-host",
            "b.example:81",
        ],
    )
    .await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8787", 200),
        ("[::1]:8787", 200),
        ("mcp.example", 200),
        ("mcp.example:444", 200),
        ("b.example:81", 200),
        ("b.example", 403),
        ("b.example:82", 403),
    ] {
        let ask = with_header(&proxy, "host", host);
        let answer = if status == 200 {
            tokio::join!(ask, upstream.answers()).0
        } else {
            ask.await
        };
        assert_eq!(answer.status(), status, "{host}");
    }
}

#[tokio::test]
async fn only_the_endpoint_is_there() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), &[]).await;
    for path in ["/", "/mcp/", "/mcp/x", "/MCP", "//mcp", "/upstream/mcp"] {
        let request = Request::post(format!("http://{}{path}", proxy.address));
        let answer = send(request.body(body(&call(1, "a"))).unwrap()).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn pages_of_an_allowed_origin_may_call() {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(
        upstream.address(),
        &["--allowed-origin", "https://App.example:443"],
    )
    .await;
    let origin = "https://app.example";
    let preflight = Request::options(format!("http://{}/mcp", proxy.address))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,mcp-session-id,mcp-protocol-version,mcp-method,mcp-name,last-event-id,\
             mcp-param-region",
        );
    let answer = send(preflight.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    let methods = answer.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("POST") && methods.contains("DELETE"));
    let headers = answer.header("access-control-allow-headers").unwrap();
    for name in [
        "mcp-session-id",
        "mcp-method",
        "mcp-name",
        "last-event-id",
        "mcp-param-region",
    ] {
        assert!(headers.contains(name), "{name} in {headers}");
    }

    let asked = async {
        let mut asked = upstream.asked().await;
        // Which pages may read the answer is not the upstream's to say.
        asked.answer("access-control-allow-origin: *\r\n").await;
    };
    let (answer, ()) = tokio::join!(with_header(&proxy, "origin", origin), asked);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("mcp-session-id"), "{exposed}");

    let evil = with_header(&proxy, "origin", "https://app.example.evil.example").await;
    assert_eq!(evil.status(), 403);
}

/// What a caller may not tell the upstream, and what it may.
const CREDENTIALS: [(&str, &str); 7] = [
    ("authorization", "Bearer caller"),
    ("cookie", "sid=caller"),
    ("forwarded", "for=caller"),
    ("x-forwarded-for", "caller"),
    ("x-forwarded-user", "caller"),
    ("x-real-ip", "caller"),
    ("x_forwarded_for", "caller"),
];
const RESERVED: [(&str, &str); 7] = [
    ("x-mcp-authorized", "forged"),
    ("mcp-init-host", "forged"),
    ("x-remote-user", "forged"),
    ("x_remote_user", "forged"),
    ("x-auth-request-email", "forged"),
    ("x-http-method-override", "DELETE"),
    ("x-original-url", "/forged"),
];
const PASSED: [(&str, &str); 6] = [
    ("mcp-session-id", "s1"),
    ("mcp-protocol-version", "2025-06-18"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("user-agent", "test"),
    ("x-mcp-toolsets", "repos"),
    ("last-event-id", "7"),
];

async fn forwarded(options: &[&str]) -> crate::fake::Asked {
    let upstream = Upstream::bind().await;
    let proxy = Proxy::serve(upstream.address(), options).await;
    let mut request = proxy.request();
    for (name, value) in CREDENTIALS.iter().chain(&RESERVED).chain(&PASSED) {
        request = request.header(*name, *value);
    }
    let request = request.body(body(&call(1, "a"))).unwrap();
    tokio::join!(upstream.answers(), send(request)).0
}

#[tokio::test]
async fn t39_credentials_and_forged_headers_do_not_reach_the_upstream() {
    let asked = forwarded(&["--header", "Authorization: Bearer operator"]).await;
    assert_eq!(asked.header("authorization"), Some("Bearer operator"));
    for (name, _) in CREDENTIALS.iter().skip(1).chain(&RESERVED) {
        assert_eq!(asked.header(name), None, "{name}");
    }
    for (name, value) in PASSED {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn credentials_reach_it_when_asked_for_but_forged_headers_never() {
    let asked = forwarded(&["--pass-authorization"]).await;
    for (name, value) in CREDENTIALS {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    for (name, _) in RESERVED {
        assert_eq!(asked.header(name), None, "{name}");
    }
}

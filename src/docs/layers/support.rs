// What the examples of the page about layers have in common; they include it.

/// `read` may be called, `send` once a day, and `pay` once somebody has approved it.
pub fn guard() -> mcp_policy::PolicyLayer {
    let policy = r#"{ "version": "1", "default": "deny", "tools": {
        "read": {}, "send": { "rate_limit": "1/day" }, "pay": { "require_approval": true },
        "who": { "require": [ { "conditions": [ { "path": "caller.id", "op": "eq", "value": "alice" } ] } ] }
    } }"#;
    mcp_policy::PolicyLayer::new(policy.parse().unwrap())
        .approval_store(mcp_policy::MemoryApprovalStore::default())
}

/// A server that does everything at once.
pub fn mcp<B: Send + 'static>() -> impl tower::Service<
    http::Request<B>,
    Response = http::Response<http_body_util::Full<bytes::Bytes>>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(async |_: http::Request<B>| {
        let answer =
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#;
        Ok(http::Response::new(http_body_util::Full::from(answer)))
    })
}

/// A server that never answers.
pub fn slow_mcp<B: Send + 'static>() -> impl tower::Service<
    http::Request<B>,
    Response = http::Response<http_body_util::Full<bytes::Bytes>>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(async |_: http::Request<B>| std::future::pending().await)
}

pub fn call(tool: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let call =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
    http::Request::post("/mcp")
        .header("content-type", "application/json")
        .body(http_body_util::Full::from(call))
        .unwrap()
}

/// The status and the text of the answer.
pub async fn send<S, R>(
    service: &S,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
) -> (u16, String)
where
    S: tower::Service<
            http::Request<http_body_util::Full<bytes::Bytes>>,
            Response = http::Response<R>,
            Error: std::fmt::Debug,
        > + Clone,
    R: http_body::Body<Data = bytes::Bytes, Error: std::fmt::Debug>,
{
    let answer = tower::ServiceExt::oneshot(service.clone(), request)
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .unwrap()
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

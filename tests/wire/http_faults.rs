//! What is wrong on the level of HTTP.

use http::{Method, Request, Response};

use crate::server::{ALLOW_ALL, Body, Exchange, OK, POLICY, call, pieces, post};

async fn refused(request: Request<Body>) -> crate::server::Answer {
    let (received, answer) = Exchange::new(ALLOW_ALL).send(request).await;
    assert!(received.is_none());
    assert!(answer.json()["error"]["message"].is_string());
    assert!(answer.json().get("id").is_none());
    answer
}

#[tokio::test]
async fn only_the_methods_of_the_transport_exist() {
    for method in [
        "PUT", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "post", "QUERY",
    ] {
        let mut request = post(call("safe"));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = refused(request).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers["allow"], "GET, POST, DELETE");
    }
}

#[tokio::test]
async fn get_and_delete_pass_without_a_body() {
    for method in [Method::GET, Method::DELETE] {
        let mut request = post(call("danger"));
        *request.method_mut() = method.clone();
        request
            .headers_mut()
            .insert("content-length", "99".parse().unwrap());
        request
            .headers_mut()
            .insert("last-event-id", "7".parse().unwrap());
        let (received, _) = Exchange::new(POLICY).send(request).await;
        let received = received.unwrap();
        assert_eq!(received.method, method);
        assert!(received.body.is_empty());
        assert!(!received.headers.contains_key("content-length"));
        assert_eq!(received.headers["last-event-id"], "7");
    }
}

#[tokio::test]
async fn upgrades_are_refused_or_ignored() {
    let upgrade = |to: &str| {
        let mut request = post(call("safe"));
        request.headers_mut().insert("upgrade", to.parse().unwrap());
        request
    };
    assert_eq!(refused(upgrade("websocket")).await.status, 405);
    assert_eq!(refused(upgrade("h2c, websocket")).await.status, 405);
    // Java's client offers this with every first request.
    let (received, _) = Exchange::new(ALLOW_ALL).send(upgrade("h2c")).await;
    assert!(!received.unwrap().headers.contains_key("upgrade"));
    let (received, _) = {
        let mut request = upgrade("h2c");
        request
            .headers_mut()
            .insert("x-http-method-override", "GET".parse().unwrap());
        Exchange::new(ALLOW_ALL).send(request).await
    };
    assert!(
        !received
            .unwrap()
            .headers
            .contains_key("x-http-method-override")
    );
}

#[tokio::test]
async fn the_content_type_is_json_or_nothing() {
    for (content_type, passes) in [
        ("application/json", true),
        ("Application/JSON", true),
        ("application/json; charset=utf-8", true),
        ("application/json ;charset=\"UTF-8\"; x=y", true),
        ("application/json; charset=utf-16", false),
        ("application/json; charset=utf-8; charset=utf-16", false),
        ("application/json; charset*=utf-7''utf-7", false),
        ("application/json; charset", false),
        ("application/json, text/plain", false),
        ("application/jsonx", false),
        ("application/vnd.api+json", false),
        ("text/plain", false),
        ("application/grpc", false),
        ("", false),
    ] {
        let mut request = post(call("safe"));
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        if passes {
            assert!(
                Exchange::new(ALLOW_ALL).send(request).await.0.is_some(),
                "{content_type}"
            );
        } else {
            assert_eq!(refused(request).await.status, 415, "{content_type}");
        }
    }
    let mut request = post(call("safe"));
    request.headers_mut().remove("content-type");
    assert_eq!(refused(request).await.status, 415);
    let mut request = post(call("safe"));
    request
        .headers_mut()
        .append("content-type", "text/plain".parse().unwrap());
    assert_eq!(refused(request).await.status, 415);
}

#[tokio::test]
async fn an_encoded_body_is_refused() {
    for (encoding, passes) in [
        ("identity", true),
        ("gzip", false),
        ("identity, gzip", false),
        ("br", false),
    ] {
        let mut request = post(call("safe"));
        request
            .headers_mut()
            .insert("content-encoding", encoding.parse().unwrap());
        if passes {
            let (received, _) = Exchange::new(ALLOW_ALL).send(request).await;
            assert!(!received.unwrap().headers.contains_key("content-encoding"));
        } else {
            assert_eq!(refused(request).await.status, 415, "{encoding}");
        }
    }
}

#[tokio::test]
async fn the_size_is_counted_not_believed() {
    let body = call("safe");
    for (limit, passes) in [(body.len(), true), (body.len() - 1, false)] {
        for frames in [1, 7] {
            let length = body.len().div_ceil(frames);
            let mut request = post("");
            *request.body_mut() = pieces(body.as_bytes().chunks(length));
            request
                .headers_mut()
                .insert("content-length", "1".parse().unwrap());
            let mut exchange = Exchange::new(ALLOW_ALL);
            exchange.layer = exchange.layer.max_body_size(limit);
            let (received, answer) = exchange.send(request).await;
            assert_eq!(received.is_some(), passes);
            if let Some(received) = received {
                assert_eq!(received.body, body);
                assert_eq!(received.headers["content-length"], body.len().to_string());
            } else {
                assert_eq!(answer.status, 413);
                assert!(
                    answer.text().contains(&limit.to_string()),
                    "{}",
                    answer.text()
                );
                assert_eq!(answer.headers["connection"], "close");
            }
        }
    }
}

#[tokio::test]
async fn redirects_and_protocol_switches_are_not_passed_on() {
    for status in [101, 103, 300, 301, 302, 304, 307, 308] {
        let answer = Response::builder()
            .status(status)
            .header("location", "http://elsewhere/")
            .body(pieces([""]))
            .unwrap();
        let (_, answer) = Exchange::answering(ALLOW_ALL, answer)
            .send(post(call("safe")))
            .await;
        assert_eq!(answer.status, 502, "{status}");
        assert_eq!((answer.code(), &answer.json()["id"]), (-32603, &1.into()));
        assert!(!answer.headers.contains_key("location"));
    }
}

#[tokio::test]
async fn a_named_path_passes_unread() {
    for (path, passes) in [
        ("/health", true),
        ("/health/", false),
        ("/Health", false),
        ("/mcp", false),
    ] {
        let mut exchange = Exchange::new(POLICY);
        exchange.layer = exchange.layer.dangerous().unguarded_path("/health");
        let mut request = post(call("danger"));
        *request.uri_mut() = path.parse().unwrap();
        let (received, answer) = exchange.send(request).await;
        assert_eq!(received.is_some(), passes, "{path}");
        assert_eq!(answer.text() == OK, passes);
    }
}

//! Pages for browsers, which run and load nothing but what comes from here.

use askama::Template;
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;

/// No script or style in a page, and nothing from elsewhere.
const CONTENT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                       form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, CONTENT),
    // Not `no-referrer`, by which forms of these pages would not say where they come from.
    (REFERRER_POLICY, "same-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// What all pages look like.
pub(crate) const STYLE: &str = "/assets/console.css";

const STYLE_TEXT: &str = concat!(
    include_str!("../assets/console.css"),
    include_str!("../assets/overview.css"),
    include_str!("../assets/tools.css"),
    include_str!("../assets/policies.css"),
    include_str!("../assets/log.css"),
    include_str!("../assets/limits.css"),
    include_str!("../assets/grants.css"),
);

/// A page.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response<Full<Bytes>> {
    match page.render() {
        Ok(text) => response(status, "text/html; charset=utf-8", Full::from(text)),
        // Only what is ours could fail to be written.
        Err(_) => {
            let nothing = Full::default();
            response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", nothing)
        }
    }
}

pub(crate) fn style() -> Response<Full<Bytes>> {
    response(
        StatusCode::OK,
        "text/css; charset=utf-8",
        Full::from(STYLE_TEXT),
    )
}

pub(crate) fn script() -> Response<Full<Bytes>> {
    script_of(include_str!("../assets/console.js"))
}

pub(crate) fn policies_script() -> Response<Full<Bytes>> {
    script_of(include_str!("../assets/policies.js"))
}

fn script_of(text: &'static str) -> Response<Full<Bytes>> {
    let kind = "text/javascript; charset=utf-8";
    response(StatusCode::OK, kind, Full::from(text))
}

/// Anything that a browser gets from here.
pub(crate) fn response<B>(status: StatusCode, kind: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

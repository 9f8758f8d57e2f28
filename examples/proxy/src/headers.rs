//! Which headers go on, towards the upstream and back.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, CONNECTION},
};

/// How the names of the cookies of the console begin.
pub(crate) const CONSOLE_COOKIE: &str = "mcp_policy_";

/// The token that `Authorization` holds, if it is of this kind (RFC 6750, 2.1).
pub(crate) fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// Takes out what the caller may not tell the upstream.
pub(crate) fn keep_what_is_the_callers(headers: &mut HeaderMap, pass_authorization: bool) {
    remove_all(headers, |name| {
        let folded;
        let mut name = name.as_str();
        // CGI and WSGI servers read `X_Forwarded_For` as `X-Forwarded-For`.
        if name.contains('_') {
            folded = name.replace('_', "-");
            name = &folded;
        }
        is_reserved(name) || (!pass_authorization && is_credential(name))
    });
    forget_operators(headers);
}

/// Browsers send a cookie to every port of a host, so that of an operator can come here.
fn forget_operators(headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let kept = |cookies: &HeaderValue| {
        let others = cookies.as_bytes().split(|byte| *byte == b';');
        let others =
            others.filter(|cookie| !cookie.trim_ascii().starts_with(CONSOLE_COOKIE.as_bytes()));
        let others = others.collect::<Vec<_>>().join(&b';');
        HeaderValue::from_bytes(others.trim_ascii()).ok()
    };
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(kept);
    let cookies: Vec<_> = cookies.filter(|kept| !kept.is_empty()).collect();
    headers.remove(header::COOKIE);
    for cookie in cookies {
        headers.append(header::COOKIE, cookie);
    }
}

/// Belongs between the caller and the proxy: a token for the proxy is none
/// for the upstream (the MCP specification forbids passing it on), and the
/// address of the caller is what the caller says it is.
fn is_credential(name: &str) -> bool {
    matches!(
        name,
        "authorization" | "proxy-authorization" | "cookie" | "cookie2" | "forwarded" | "x-real-ip"
    ) || name.starts_with("x-forwarded")
}

/// Set by gateways, believed by the servers behind them, and never a
/// caller's to send: who was authenticated, and which method or path is meant.
fn is_reserved(name: &str) -> bool {
    // By their first letters, because most names begin with none of these.
    let families: &[&str] = match name.as_bytes() {
        [b'c', b'f', ..] => &["cf-access-"],
        [b't', ..] => &["tailscale-user-"],
        [b'x', ..] => &[
            "x-amzn-oidc-",
            "x-auth-request-",
            "x-goog-authenticated-user-",
            "x-mcp-policy-",
            "x-ms-client-principal",
            "x-ssl-client-",
        ],
        _ => &[],
    };
    // Of `Mcp-*` the protocol knows these; another one is some gateway's own.
    let is_protocol = || {
        matches!(
            name,
            "mcp-method" | "mcp-name" | "mcp-protocol-version" | "mcp-session-id"
        ) || name.starts_with("mcp-param-")
    };
    matches!(
        name,
        "cf-connecting-ip"
            | "remote-user"
            | "true-client-ip"
            | "x-authenticated-user"
            | "x-client-cert"
            | "x-client-ip"
            | "x-forwarded-client-cert"
            | "x-http-method"
            | "x-http-method-override"
            | "x-mcp-authorized"
            | "x-method-override"
            | "x-original-url"
            | "x-remote-user"
            | "x-rewrite-url"
            | "x-webauth-user"
    ) || families.iter().any(|family| name.starts_with(family))
        || (name.starts_with("mcp-") && !is_protocol())
}

/// Removes what an upstream may not tell the proxy's callers, or a server between: other
/// places where the same service is to be had, without the policy, and which
/// pages may read the answers, which is this proxy's to say. And what holds for the
/// connection to the upstream alone.
pub(crate) fn keep_what_is_the_upstreams(headers: &mut HeaderMap) {
    remove_named(headers);
    remove_all(headers, |name| {
        let elsewhere = matches!(
            name.as_str(),
            "alt-svc" | "location" | "refresh" | "x-accel-redirect"
        );
        elsewhere || name.as_str().starts_with("access-control-") || is_hop_by_hop(name)
    });
}

/// Removes every header of such a name. Few have one, so that to look at all names once is
/// less work than to search for each that has to go.
fn remove_all(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Removes what holds for one connection only (RFC 9110, 7.6.1), including
/// what `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    remove_named(headers);
    remove_all(headers, is_hop_by_hop);
}

/// Removes what `Connection` names.
fn remove_named(headers: &mut HeaderMap) {
    // Few have one, as with `remove_all`.
    let said = headers.iter().filter(|(name, _)| *name == CONNECTION);
    let named: Vec<HeaderName> = said
        .filter_map(|(_, value)| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// What the policy layer reads or sets is not to be had removed by naming it
/// in `Connection`: both sides of the layer have to see the same message.
fn is_end_to_end(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::ACCEPT
            | header::ACCEPT_ENCODING
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_TYPE
    ) || name.as_str().starts_with("mcp-")
}

/// Whether a header holds for one connection only.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod attacked {
    use super::*;

    /// Browsers send a cookie to every port of a host: an operator who looks at the address
    /// of the callers would show the server behind it their session.
    #[test]
    fn the_cookie_of_an_operator_never_goes_on() {
        let mut headers = HeaderMap::new();
        let cookie = "mcp_policy_00112233=00112233445566778899aabbccddeeff; theirs=1";
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        keep_what_is_the_callers(&mut headers, true);
        let goes_on = headers.get(header::COOKIE);
        let text = goes_on.map(|cookie| cookie.to_str().unwrap());
        assert!(
            !text.unwrap_or_default().contains("mcp_policy_"),
            "{text:?}"
        );
    }
}

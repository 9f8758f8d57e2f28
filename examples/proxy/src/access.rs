//! Who may talk to the proxy.
//!
//! A proxy on loopback is not out of reach: any web page can make a browser
//! send requests to it, under a name of the attacker's that resolves to
//! 127.0.0.1 (DNS rebinding). So the name under which it was called has to be
//! one of its own, and a page has to come from the proxy's own origin or from one
//! that was allowed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{self, HOST, ORIGIN},
    uri::Authority,
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::headers;

/// The path of what is guarded.
pub(crate) const ENDPOINT: &str = "/mcp";

/// Decides who is admitted; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    listen: IpAddr,
    hosts: Vec<Host>,
    origins: Vec<String>,
    pass_authorization: bool,
    /// Names that are known as they stand here, by which most callers call.
    usual: Vec<String>,
}

/// What makes a request a foreign one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Foreign {
    /// The name by which it calls.
    Host,
    /// The web page that it comes from.
    Origin,
}

impl Foreign {
    /// What it is answered.
    pub(crate) fn refused<R: From<Bytes>>(self) -> Response<R> {
        let message = match self {
            Self::Host => {
                "The Host header names no host that this proxy serves. Call it by a loopback \
                 name, or have its operator allow the name."
            }
            Self::Origin => {
                "Web pages of this origin may not call this proxy. Its operator can allow the \
                 origin."
            }
        };
        refused(StatusCode::FORBIDDEN, message)
    }
}

/// A host in lower case, and the port if only that one is meant.
#[derive(Clone, Debug, PartialEq)]
struct Host {
    name: String,
    port: Option<u16>,
}

impl Access {
    /// Admits callers that name the proxy by a loopback name or by the
    /// address it listens on, and no web pages of other origins.
    pub(crate) fn new(listen: SocketAddr) -> Self {
        Self(Arc::new(Rules::new(listen, Vec::new(), Vec::new(), false)))
    }

    /// The same with what the command line adds.
    pub(crate) fn with(
        listen: SocketAddr,
        hosts: &[String],
        origins: &[String],
        pass_authorization: bool,
    ) -> Result<Self, String> {
        let host = |text: &String| {
            Host::parse(text.as_bytes())
                .ok_or_else(|| format!("`--allowed-host {text}` is not a host name or HOST:PORT"))
        };
        let origin = |text: &String| {
            origin(text.as_bytes()).ok_or_else(|| {
                format!(
                    "`--allowed-origin {text}` is not an origin: it reads like \
                     https://app.example.com, without a path"
                )
            })
        };
        let hosts = hosts.iter().map(host).collect::<Result<_, _>>()?;
        let origins = origins.iter().map(origin).collect::<Result<_, _>>()?;
        let rules = Rules::new(listen, hosts, origins, pass_authorization);
        Ok(Self(Arc::new(rules)))
    }

    /// Whether this names a host, and maybe a port.
    pub(crate) fn is_host(text: &str) -> bool {
        Host::parse(text.as_bytes()).is_some()
    }

    /// Whether this is the origin of web pages.
    pub(crate) fn is_origin(text: &str) -> bool {
        origin(text.as_bytes()).is_some()
    }

    /// The same, for another address.
    pub(crate) fn listening_at(&self, listen: SocketAddr) -> Self {
        let Rules {
            hosts,
            origins,
            pass_authorization,
            ..
        } = Rules::clone(&self.0);
        let rules = Rules::new(listen, hosts, origins, pass_authorization);
        Self(Arc::new(rules))
    }

    /// The same hosts, for another address and its own pages alone.
    pub(crate) fn at(&self, listen: SocketAddr) -> Self {
        let hosts = self.0.hosts.clone();
        Self(Arc::new(Rules::new(listen, hosts, Vec::new(), false)))
    }

    /// CORS for the pages of allowed origins; `None` when there are none, so
    /// that OPTIONS is then an ordinary unknown method.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        if self.0.origins.is_empty() {
            return None;
        }
        let rules = Arc::clone(&self.0);
        Some(
            CorsLayer::new()
                .allow_origin(AllowOrigin::predicate(move |value, _| {
                    rules.knows_origin(value)
                }))
                .allow_methods([Method::POST, Method::GET, Method::DELETE])
                // Mirrored, because the `Mcp-Param-*` headers carry names that
                // the servers choose. An allowed origin may send any header;
                // which of them go on is decided below.
                .allow_headers(AllowHeaders::mirror_request())
                .expose_headers([
                    HeaderName::from_static("mcp-session-id"),
                    HeaderName::from_static("mcp-protocol-version"),
                    header::WWW_AUTHENTICATE,
                    header::RETRY_AFTER,
                ])
                .max_age(Duration::from_secs(600)),
        )
    }

    /// Lets a request in, without the headers that are not the caller's to
    /// send, or says why not.
    pub(crate) fn admit<B, R: From<Bytes>>(
        &self,
        request: &mut Request<B>,
    ) -> Result<(), Response<R>> {
        self.judge(request).map_err(Foreign::refused)?;
        if request.uri().path() != ENDPOINT {
            return Err(answer(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "Nothing is here. The MCP endpoint is /mcp.\n",
            ));
        }
        headers::keep_what_is_the_callers(request.headers_mut(), self.0.pass_authorization);
        Ok(())
    }

    /// Whether a request is meant for this address, and no foreign page made it.
    pub(crate) fn judge<B>(&self, request: &Request<B>) -> Result<(), Foreign> {
        let rules = &*self.0;
        if !rules.is_addressed(request) {
            return Err(Foreign::Host);
        }
        let mut origins = request.headers().get_all(ORIGIN).iter();
        if let Some(value) = origins.next()
            && !(origins.next().is_none()
                && (rules.knows_origin(value) || is_own_origin(value, request)))
        {
            return Err(Foreign::Origin);
        }
        Ok(())
    }
}

impl Rules {
    fn new(
        listen: SocketAddr,
        hosts: Vec<Host>,
        origins: Vec<String>,
        pass_authorization: bool,
    ) -> Self {
        let port = listen.port();
        let mut rules = Self {
            listen: listen.ip(),
            hosts,
            origins,
            pass_authorization,
            usual: Vec::new(),
        };
        let names = rules.hosts.iter().map(|host| host.name.clone());
        let names = names.chain(["localhost".to_owned(), listen.ip().to_string()]);
        let usual = names.flat_map(|name| [format!("{name}:{port}"), name]);
        rules.usual = usual
            .filter(|name| rules.knows_host(name.as_bytes()))
            .collect();
        rules
    }

    /// Every name in the request has to be one of ours: HTTP/2 and the
    /// absolute form carry it in the target, and `Host` may stand beside that.
    fn is_addressed<B>(&self, request: &Request<B>) -> bool {
        let target = request.uri().authority().map(Authority::as_str);
        let mut names = request
            .headers()
            .get_all(HOST)
            .iter()
            .map(HeaderValue::as_bytes)
            .chain(target.map(str::as_bytes))
            .peekable();
        names.peek().is_some() && names.all(|name| self.is_usual(name) || self.knows_host(name))
    }

    fn is_usual(&self, text: &[u8]) -> bool {
        self.usual.iter().any(|usual| usual.as_bytes() == text)
    }

    fn knows_host(&self, text: &[u8]) -> bool {
        let Some(host) = Host::parse(text) else {
            return false;
        };
        is_loopback(&host.name)
            || address(&host.name) == Some(self.listen)
            || self.hosts.iter().any(|known| {
                known.name == host.name && (known.port.is_none() || known.port == host.port)
            })
    }

    fn knows_origin(&self, value: &HeaderValue) -> bool {
        origin(value.as_bytes()).is_some_and(|origin| self.origins.contains(&origin))
    }
}

/// Whether a host, in lower case, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|ip| ip.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

impl Host {
    fn parse(text: &[u8]) -> Option<Self> {
        let authority = Authority::try_from(text).ok()?;
        let (name, rest) = authority
            .as_str()
            .split_at_checked(authority.host().len())?;
        let port = match rest.strip_prefix(':') {
            None => None,
            Some(digits) => Some(digits.parse().ok()?),
        };
        // What is left over or in front would be user information.
        if name != authority.host() || (port.is_none() && !rest.is_empty()) {
            return None;
        }
        Some(Self {
            name: name.to_ascii_lowercase(),
            port,
        })
    }
}

/// Whether a page of the proxy's own origin sends the request: then it did not
/// come from elsewhere. The host has been admitted by now.
fn is_own_origin<B>(value: &HeaderValue, request: &Request<B>) -> bool {
    let target = request.uri().authority().map(Authority::as_str);
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let Some(host) = host.or(target.map(str::as_bytes)) else {
        return false;
    };
    ["http", "https"].iter().any(|scheme| {
        let own = [scheme.as_bytes(), b"://", host].concat();
        origin(&own).is_some_and(|own| origin(value.as_bytes()) == Some(own))
    })
}

/// An origin in lower case and without the port that its scheme implies.
fn origin(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let host = Host::parse(authority.as_bytes())?;
    let implied = matches!(
        (scheme, host.port),
        ("http", Some(80)) | ("https", Some(443))
    );
    Some(match host.port {
        Some(port) if !implied => format!("{scheme}://{}:{port}", host.name),
        _ => format!("{scheme}://{}", host.name),
    })
}

/// A refusal that every client can read, whatever it has sent.
pub(crate) fn refused<R: From<Bytes>>(status: StatusCode, message: &str) -> Response<R> {
    let body = serde_json::json!({
        "jsonrpc": "2.0",
        "error": { "code": -32600, "message": message },
    });
    answer(status, "application/json", body.to_string())
}

/// A whole answer.
pub(crate) fn answer<R: From<Bytes>>(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<R> {
    let mut response = Response::new(R::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_usual_is_one_that_would_be_known() {
        let hosts = ["gw.example.com:8443", "Other.Example"].map(str::to_owned);
        for listen in ["127.0.0.1:8787", "0.0.0.0:80", "[::1]:1", "192.0.2.1:8443"] {
            let listen: SocketAddr = listen.parse().unwrap();
            let Access(rules) = Access::with(listen, &hosts, &[], false).unwrap();
            let local = format!("localhost:{}", listen.port());
            assert!(rules.is_usual(local.as_bytes()));
            assert!(rules.is_usual(b"other.example"));
            for name in &rules.usual {
                assert!(rules.knows_host(name.as_bytes()), "{name}");
            }
            for foreign in ["gw.example.com", "gw.example.com:1", "evil.example", ""] {
                assert!(!rules.is_usual(foreign.as_bytes()), "{foreign}");
            }
        }
    }
}

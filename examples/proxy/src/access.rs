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
        Self(Arc::new(Rules {
            listen: listen.ip(),
            hosts: Vec::new(),
            origins: Vec::new(),
            pass_authorization: false,
        }))
    }

    /// The same with what the command line adds.
    pub(crate) fn with(
        listen: SocketAddr,
        hosts: &[String],
        origins: &[String],
        pass_authorization: bool,
    ) -> Result<Self, String> {
        Ok(Self(Arc::new(Rules {
            listen: listen.ip(),
            hosts: hosts
                .iter()
                .map(|text| {
                    Host::parse(text.as_bytes()).ok_or_else(|| {
                        format!("`--allowed-host {text}` is not a host name or HOST:PORT")
                    })
                })
                .collect::<Result<_, _>>()?,
            origins: origins
                .iter()
                .map(|text| {
                    origin(text.as_bytes()).ok_or_else(|| {
                        format!(
                            "`--allowed-origin {text}` is not an origin: it reads like \
                             https://app.example.com, without a path"
                        )
                    })
                })
                .collect::<Result<_, _>>()?,
            pass_authorization,
        })))
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
        Self(Arc::new(Rules {
            listen: listen.ip(),
            ..Rules::clone(&self.0)
        }))
    }

    /// The same hosts, for another address and its own pages alone.
    pub(crate) fn at(&self, listen: SocketAddr) -> Self {
        Self(Arc::new(Rules {
            listen: listen.ip(),
            hosts: self.0.hosts.clone(),
            origins: Vec::new(),
            pass_authorization: false,
        }))
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
        names.peek().is_some() && names.all(|name| self.knows_host(name))
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

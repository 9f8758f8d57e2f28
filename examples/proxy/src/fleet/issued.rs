//! Servers whose callers have tokens of an issuer, and what such a server tells clients
//! that have to get one: protected-resource metadata (RFC 9728) and challenges (RFC 6750).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use mcp_policy::Caller;
use serde_json::json;

use super::identify::{self, Unknown};
use crate::{
    access,
    config::Issued as Said,
    failure::Failure,
    jwt::{Demands, Denied, Expiry, Verifier},
};

/// The beginning of the path of that metadata; after it comes the path of the server.
pub(super) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Who may use one server, and how others get to.
pub(super) struct Issued {
    said: Said,
    verifier: Verifier,
    /// The URL of the server and of its metadata, by which others know them.
    url: String,
    metadata_url: String,
}

/// Why somebody is not let in.
pub(super) enum Refused {
    Unknown(Unknown),
    Denied(Denied),
}

impl Issued {
    pub(super) fn new(said: &Said, url: String, metadata_url: String) -> Result<Self, Failure> {
        let demands = Demands {
            issuer: said.issuer.clone(),
            audience: said.audience.clone().unwrap_or_else(|| url.clone()),
            scopes: said.scopes.clone(),
            caller: said.caller.clone(),
        };
        let verifier = Verifier::new(demands, said.keys.clone());
        let verifier = verifier.map_err(|error| Failure::start(error.to_string()))?;
        Ok(Self {
            said: said.clone(),
            verifier,
            url,
            metadata_url,
        })
    }

    /// Whether nothing is to be made anew: then its keys are known already.
    pub(super) fn is(&self, said: &Said, url: &str) -> bool {
        self.said == *said && self.url == url
    }

    /// Whose token a request has, and until when it is one.
    pub(super) async fn who(&self, headers: &HeaderMap) -> Result<(Caller, Expiry), Refused> {
        let token = identify::token(headers).map_err(Refused::Unknown)?;
        // No JWT has other characters.
        let token = std::str::from_utf8(token).map_err(|_| Refused::Unknown(Unknown::Invalid))?;
        self.verifier.verify(token).await.map_err(Refused::Denied)
    }

    /// What clients have to know to get a token.
    pub(super) fn metadata(&self, name: &str) -> Response<Full<Bytes>> {
        let metadata = json!({
            "resource": self.url,
            "resource_name": name,
            "authorization_servers": [self.said.issuer],
            "bearer_methods_supported": ["header"],
            "scopes_supported": self.said.scopes,
        });
        access::answer(StatusCode::OK, "application/json", metadata.to_string())
    }

    /// What whoever is not let in is answered; it repeats nothing of what they sent.
    pub(super) fn refused<R: From<Bytes>>(&self, refused: &Refused) -> Response<R> {
        let (status, code, text) = match refused {
            Refused::Unknown(Unknown::Malformed) => (
                StatusCode::BAD_REQUEST,
                Some("invalid_request"),
                "Send one token, as 'Authorization: Bearer TOKEN'.".to_owned(),
            ),
            Refused::Unknown(Unknown::Nobody) => (
                StatusCode::UNAUTHORIZED,
                None,
                "Get a token for this server from the authorization server, and send it as \
                 'Authorization: Bearer TOKEN'."
                    .to_owned(),
            ),
            Refused::Unknown(Unknown::Invalid | Unknown::Foreign) => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                "This is no token of the authorization server.".to_owned(),
            ),
            Refused::Denied(Denied::Invalid(why)) => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                format!("Get another token: {why}."),
            ),
            Refused::Denied(Denied::Scope) => (
                StatusCode::FORBIDDEN,
                Some("insufficient_scope"),
                "Get another token, with all of the scopes.".to_owned(),
            ),
            Refused::Denied(Denied::Unavailable) => {
                let text = "The keys of the authorization server cannot be had now, so nobody \
                            is let in. Try again later.";
                let mut answer = access::refused(StatusCode::SERVICE_UNAVAILABLE, text);
                let later = HeaderValue::from_static("10");
                answer.headers_mut().insert(RETRY_AFTER, later);
                return answer;
            }
        };
        let mut challenge = format!(
            "Bearer realm=\"mcp-policy-proxy\", resource_metadata=\"{}\"",
            self.metadata_url
        );
        let scopes = &self.said.scopes;
        if !scopes.is_empty() {
            challenge += &format!(", scope=\"{}\"", scopes.join(" "));
        }
        if let Some(code) = code {
            challenge += &format!(", error=\"{code}\", error_description=\"{text}\"");
        }
        let mut response = access::refused(status, &text);
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        response
    }
}

impl Refused {
    /// For the log.
    pub(super) fn why(&self) -> &'static str {
        match self {
            Self::Unknown(unknown) => unknown.why(),
            Self::Denied(Denied::Invalid(why)) => why,
            Self::Denied(Denied::Scope) => "the token lacks a scope",
            Self::Denied(Denied::Unavailable) => "the keys of the issuer cannot be had",
        }
    }
}

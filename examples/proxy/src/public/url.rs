//! By which URL others reach this proxy.

use std::sync::Arc;

use http::{Uri, uri::Scheme};
use mcp_policy::ApprovalId;

use super::PATH;
use crate::access;

/// By which URL others reach this proxy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PublicUrl {
    /// Without a slash at its end.
    text: Arc<str>,
    /// The same of its path.
    path: Arc<str>,
    authority: Arc<str>,
}

impl PublicUrl {
    /// Reads one, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = Err;
        if text.contains(['?', '#', '@']) {
            return wrong("can have no query, fragment, or user name");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return wrong("is not a URL");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return wrong("has to begin with https:// and a host");
        };
        let host = authority.host().to_ascii_lowercase();
        let is_local = access::is_loopback(&host) && *scheme == Scheme::HTTP;
        if host.is_empty() || !(is_local || *scheme == Scheme::HTTPS) {
            return wrong(
                "has to begin with https:// and a host; http:// is for loopback names only",
            );
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            text: format!("{scheme}://{authority}{path}").into(),
            path: path.into(),
            authority: authority.as_str().into(),
        })
    }

    /// The host, and the port if it has one.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of what is at this path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// The path of this, as others see it, below a well-known one of the host.
    pub(crate) fn well_known(&self, prefix: &str, path: &str) -> String {
        format!("{prefix}{}{path}", self.path)
    }

    /// What every path begins with.
    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// The host alone, and how it is spoken to.
    pub(crate) fn origin(&self) -> &str {
        self.text.strip_suffix(&*self.path).unwrap_or(&self.text)
    }

    /// Where it is said what has become of a request.
    pub(crate) fn page_of(&self, request: &ApprovalId) -> String {
        format!("{}{PATH}/{request}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_one_that_others_can_trust() {
        let id: ApprovalId = "00112233445566778899aabbccddeeff".parse().unwrap();
        for (text, expected) in [
            ("https://gateway.example.com", "https://gateway.example.com"),
            (
                "https://gateway.example.com/",
                "https://gateway.example.com",
            ),
            (
                "https://gateway.example.com:8443/a/b/",
                "https://gateway.example.com:8443/a/b",
            ),
            ("http://127.0.0.1:8787/x", "http://127.0.0.1:8787/x"),
            ("http://localhost:8787", "http://localhost:8787"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.page_of(&id), format!("{expected}/approvals/{id}"));
        }
        for wrong in [
            "",
            "/approvals",
            "gateway.example.com",
            "http://gateway.example.com/",
            "ftp://gateway.example.com/",
            "https:///x",
            "https://alice@gateway.example.com/",
            "https://gateway.example.com/?a",
            "https://gateway.example.com/#a",
            "https://gateway example.com/",
        ] {
            assert!(PublicUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}

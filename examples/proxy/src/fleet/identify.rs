//! Who calls, by the token that they show.
//!
//! A grant is for one server. Who shows the token of another one is told so, and has no
//! more than somebody without a token: it was not made for here (RFC 6750, 3.1, and the
//! authorization of MCP, by which a token is for one audience).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use mcp_policy::Caller;
use metrics::counter;

use super::life::Life;
use crate::{
    access,
    config::{Grant, token::TokenHash},
    headers,
    monitor::REFUSED,
    throttle::Throttle,
};

/// The grants, by what is kept of their tokens.
#[derive(Clone, Default)]
pub(super) struct Grants(HashMap<TokenHash, Arc<Known>>);

/// Somebody who has a grant.
pub(super) struct Known {
    pub(super) grant: Grant,
    /// As the policy knows them.
    pub(super) caller: Caller,
    /// Of their streams.
    pub(super) life: Life,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// They show nothing.
    Nobody,
    /// They show something that cannot be read.
    Malformed,
    /// Their token is not one, or not any more.
    Invalid,
    /// Their token is for another server.
    Foreign,
}

impl Grants {
    /// Those of a configuration; the streams of those that stand in both go on.
    pub(super) fn followed_by(&self, grants: &[Grant]) -> Self {
        let known = |grant: &Grant| {
            let old = self.0.get(&grant.token);
            let old = old.filter(|old| old.grant.is_same(grant));
            Arc::new(Known {
                grant: grant.clone(),
                caller: Caller::new(&grant.label).with_claims(grant.claims.clone()),
                life: old.map_or_else(Life::begin, |old| old.life.clone()),
            })
        };
        let grants = grants.iter().map(|grant| (grant.token, known(grant)));
        Self(grants.collect())
    }

    /// Those of which this is true.
    pub(super) fn filtered(&self, stands: impl Fn(&Grant) -> bool) -> Self {
        let mut grants = self.clone();
        grants.0.retain(|_, known| stands(&known.grant));
        grants
    }

    /// Ends the streams of those that do not stand in the others.
    pub(super) fn end_unless_in(&self, others: &Self) {
        for (token, known) in &self.0 {
            let other = others.0.get(token);
            if !other.is_some_and(|other| other.life.is(&known.life)) {
                known.life.end();
            }
        }
    }

    /// All of them, also those that are revoked.
    pub(super) fn all(&self) -> impl Iterator<Item = &Grant> {
        self.0.values().map(|known| &known.grant)
    }

    /// Of those that are good for something.
    pub(super) fn labels(&self) -> HashSet<&str> {
        let grants = self.all().filter(|grant| !grant.is_revoked);
        grants.map(|grant| &*grant.label).collect()
    }

    /// Whose token a request to this server has.
    pub(super) fn who(&self, server: &str, headers: &HeaderMap) -> Result<&Known, Unknown> {
        let token = token(headers)?;
        // Found by a hash that nobody can choose, and compared in constant time.
        let hash = TokenHash::of(token);
        let known = self.0.get(&hash).ok_or(Unknown::Invalid)?;
        match &known.grant {
            grant if grant.is_revoked => Err(Unknown::Invalid),
            grant if grant.server != server => Err(Unknown::Foreign),
            _ => Ok(known),
        }
    }
}

/// The token of a request.
pub(super) fn token(headers: &HeaderMap) -> Result<&[u8], Unknown> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Unknown::Nobody)?;
    if values.next().is_some() {
        return Err(Unknown::Malformed);
    }
    let token = headers::bearer(value).ok_or(Unknown::Nobody)?;
    match token.is_empty() {
        true => Err(Unknown::Malformed),
        false => Ok(token),
    }
}

impl Unknown {
    /// For the log.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Nobody => "no token",
            Self::Malformed => "what is sent is no token",
            Self::Invalid => "the token is unknown or revoked",
            Self::Foreign => "the token is for another server",
        }
    }

    /// What they are answered; it repeats nothing of what they sent.
    pub(super) fn refused<R: From<Bytes>>(self) -> Response<R> {
        let (status, code, text) = match self {
            Self::Nobody => (
                StatusCode::UNAUTHORIZED,
                None,
                "Send the token that the operator has given you for this server, as \
                 `Authorization: Bearer TOKEN`.",
            ),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                Some("invalid_request"),
                "Send one token, as `Authorization: Bearer TOKEN`.",
            ),
            Self::Invalid => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                "This token is not known here, or has been revoked. Ask the operator for another \
                 one.",
            ),
            Self::Foreign => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                "This token is for another server. Ask the operator for one for this server.",
            ),
        };
        let mut challenge = "Bearer realm=\"mcp-policy-proxy\"".to_owned();
        if let Some(code) = code {
            challenge += &format!(", error=\"{code}\", error_description=\"{text}\"");
        }
        let mut response = access::refused(status, text);
        if let Ok(value) = HeaderValue::from_str(&challenge.replace('`', "'")) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// Who was refused, each of which is counted, and of which the log says no more than it can hold: they decide how often
/// they call.
#[derive(Default)]
pub(super) struct RefusalLog(Throttle);

impl RefusalLog {
    /// Both are chosen by nobody who calls: the server is one that there is.
    pub(super) fn say(&self, server: &str, why: &'static str) {
        counter!(REFUSED, "server" => server.to_owned(), "why" => why).increment(1);
        if let Some(others) = self.0.due() {
            tracing::warn!(
                server,
                why,
                others,
                "refused whoever called without a right token"
            );
        }
    }
}

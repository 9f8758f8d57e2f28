//! Callers who prove who they are with a token of an issuer: a JWT as an OAuth access
//! token (RFC 9068, RFC 8725), for one audience.
//!
//! [`keys`] is where the keys of the issuer come from.

mod keys;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use mcp_policy::Caller;
use serde_json::{Map, Value};
use tokio::time::Instant;

pub(crate) use self::keys::{KeySource, Unusable, is_issuer, is_place_of_keys};
use self::keys::{Keys, Unavailable};

/// Bytes of a token.
const LONGEST_TOKEN: usize = 16 << 10;
/// Bytes of the name of a caller.
const LONGEST_NAME: usize = 256;
/// By so many seconds clocks may differ.
pub(crate) const LEEWAY: u64 = 30;

/// Those of which the verifier's key is no secret: else whoever can verify could sign.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

/// What tokens say that they are (RFC 8725, 3.11) of those that are for access: most
/// issuers say no more than `JWT`, and some nothing.
const KINDS: [&str; 3] = [ACCESS_TOKEN, "application/at+jwt", "jwt"];
/// One that is for nothing else (RFC 9068, 2.1).
const ACCESS_TOKEN: &str = "at+jwt";

/// What is asked of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demands {
    /// Who issues them: exactly their `iss`.
    pub(crate) issuer: String,
    /// For whom they are: one of their `aud`.
    pub(crate) audience: String,
    /// All of which they have to have.
    pub(crate) scopes: Vec<String>,
    /// The claim that names the caller.
    pub(crate) caller: String,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// This token does not prove anything, or not any more.
    Invalid(&'static str),
    /// Another token, with all of the scopes, would be let in.
    Scope,
    /// Nobody knows now whether it does.
    Unavailable,
}

/// When the token of a request expires: in its extensions, for whatever lets it wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry(pub(crate) Instant);

/// What whoever has waited for longer is told.
pub(crate) const EXPIRED: &str = "The token of this call has expired while it waited, so it was \
                                  not made. Call again with another token.";

impl Expiry {
    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Tells who somebody is by their token.
#[derive(Debug)]
pub(crate) struct Verifier {
    demands: Demands,
    /// One for each of the [`ALGORITHMS`], which allows that alone.
    validations: Vec<Validation>,
    keys: Keys,
}

impl Verifier {
    /// The keys are asked for when the first token comes.
    pub(crate) fn new(demands: Demands, source: KeySource) -> Result<Self, Unusable> {
        let keys = Keys::new(&demands.issuer, source)?;
        let validations = ALGORITHMS.map(|algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.leeway = LEEWAY;
            validation.validate_nbf = true;
            validation.set_audience(&[&demands.audience]);
            validation.set_issuer(&[&demands.issuer]);
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            validation
        });
        Ok(Self {
            demands,
            validations: validations.into(),
            keys,
        })
    }

    /// Who has this token, and until when it is one.
    pub(crate) async fn verify(&self, token: &str) -> Result<(Caller, Expiry), Denied> {
        if token.len() > LONGEST_TOKEN {
            return Err(Denied::Invalid("the token is too long"));
        }
        let header = decode_header(token).map_err(|error| why(error.kind()))?;
        let mut validations = self.validations.iter();
        let Some(validation) = validations.find(|one| one.algorithms == [header.alg]) else {
            return Err(Denied::Invalid("the token is not signed with a public key"));
        };
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if !kind.as_deref().is_none_or(|kind| KINDS.contains(&kind)) {
            return Err(NO_ACCESS_TOKEN);
        }
        let keys = self.keys.for_token(header.kid.as_deref(), header.alg).await;
        let keys = keys.map_err(|Unavailable| Denied::Unavailable)?;
        let mut refused = Denied::Invalid("the token is signed with no key of the issuer");
        for key in &keys {
            match claims(token, key, validation) {
                Ok(claims) => {
                    is_for_access(kind.as_deref(), &claims)?;
                    let expiry = Expiry(Instant::now() + left(&claims));
                    return Ok((self.caller(claims)?, expiry));
                }
                Err(denied) => refused = denied,
            }
        }
        Err(refused)
    }

    fn caller(&self, claims: Map<String, Value>) -> Result<Caller, Denied> {
        let name = claims.get(&self.demands.caller).and_then(Value::as_str);
        let is_one = |name: &&str| !name.is_empty() && name.len() <= LONGEST_NAME;
        let Some(name) = name.filter(is_one) else {
            return Err(Denied::Invalid("the token does not say whose it is"));
        };
        let granted = scopes(&claims);
        let has = |wanted: &String| granted.contains(&wanted.as_str());
        if !self.demands.scopes.iter().all(has) {
            return Err(Denied::Scope);
        }
        let caller = Caller::issued_by(&self.demands.issuer, name);
        Ok(caller.with_claims(claims))
    }
}

fn claims(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<Map<String, Value>, Denied> {
    let decoded = decode(token, key, validation);
    Ok(decoded.map_err(|error| why(error.kind()))?.claims)
}

const NO_ACCESS_TOKEN: Denied = Denied::Invalid("the token is no access token");

/// Tokens for something else can have the same issuer, key and audience.
fn is_for_access(kind: Option<&str>, claims: &Map<String, Value>) -> Result<(), Denied> {
    let has = |name| claims.contains_key(name);
    // The answer to one login (OpenID Connect Core, 2), unless it says that it is not.
    let is_of_login = has("nonce") && kind.is_none_or(|kind| !kind.ends_with(ACCESS_TOKEN));
    // Such as that somebody has logged out (RFC 8417).
    if is_of_login || has("events") {
        return Err(NO_ACCESS_TOKEN);
    }
    // Whoever shows it as a bearer token may have stolen it.
    if has("cnf") {
        let why = "the token is bound to a key, and a proof of that is not understood here";
        return Err(Denied::Invalid(why));
    }
    Ok(())
}

/// How long a token is one, by a clock that may differ.
fn left(claims: &Map<String, Value>) -> Duration {
    let expires = claims.get("exp").and_then(Value::as_f64);
    let expires = expires.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let expires = expires.unwrap_or_default();
    let left = expires
        .saturating_add(Duration::from_secs(LEEWAY))
        .saturating_sub(now.unwrap_or_default());
    // A timer takes no longer ones.
    left.min(Duration::from_secs(30 * 24 * 60 * 60))
}

/// What a token allows: `scope` as RFC 8693 has it, or `scp`, as others do.
fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    let of = |name| match claims.get(name) {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    [of("scope"), of("scp")].concat()
}

/// In words that hold nothing of the token.
fn why(error: &ErrorKind) -> Denied {
    Denied::Invalid(match error {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidAudience => "the token is for somebody else",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidSignature => "the token is signed with no key of the issuer",
        ErrorKind::MissingRequiredClaim(_) => "the token has no exp, iss or aud",
        _ => "the token cannot be read",
    })
}

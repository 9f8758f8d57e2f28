//! The public keys of an issuer: asked for when they are needed, kept for a while, and
//! asked for again when a token names one that is not among them.

use std::{
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::ACCEPT, uri::Scheme};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    jwk::{Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, timeout},
};
use tower::BoxError;

use crate::{
    access,
    connect::{self, Connector},
    lock::{read, write},
};

/// Keys are asked for again after this: so long a key that was taken back still counts.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// For so long keys count that could not be asked for again.
const LONGEST_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The issuer is asked no more often, whatever tokens name.
const PAUSE: Duration = Duration::from_secs(10);
/// For so long after it was asked in vain an issuer is taken to be away. Then somebody waits
/// for it again: meanwhile it may have taken a key back.
const AWAY: Duration = Duration::from_secs(60);
/// All that the issuer is asked at once; and whoever waits for that.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: usize = 256 << 10;
/// Keys of one issuer.
const MOST_KEYS: usize = 64;
/// Bytes of the modulus of an RSA key (RFC 7518, 3.3).
const SHORTEST_RSA: usize = 256;
/// Keys that one token is tried with.
const MOST_TRIED: usize = 4;

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Where the metadata of the issuer says.
    Discovered,
    /// At this URL.
    At(String),
}

/// Why keys could never be had.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The issuer is no URL that can be asked.
    Issuer,
    /// The URL of the keys is none.
    Keys,
    /// There is no TLS.
    Tls(rustls::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const URL: &str =
            "has to be a URL that begins with https://; http:// is for loopback names";
        match self {
            Self::Issuer => write!(f, "the issuer {URL}"),
            Self::Keys => write!(f, "the place of the keys {URL}"),
            Self::Tls(error) => write!(f, "cannot set up TLS: {error}"),
        }
    }
}

/// The issuer cannot be asked now.
#[derive(Debug)]
pub(super) struct Unavailable;

/// Keys that a token is to be tried with.
pub(super) type Tried = Vec<Arc<DecodingKey>>;

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    issuer: String,
    source: KeySource,
    client: Client<Connector, Empty<Bytes>>,
    known: RwLock<Arc<Known>>,
    /// When the issuer was asked last. Whoever asks holds it.
    asked: Arc<Mutex<Option<Instant>>>,
    /// When that was, if it was in vain.
    failed: RwLock<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known {
    since: Option<Instant>,
    keys: Vec<Key>,
}

/// A JWK set.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key that signs.
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: Arc<DecodingKey>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Known {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() < age)
    }

    fn of(set: Set) -> Self {
        // One that is not understood says nothing of the others.
        let keys = set.keys.into_iter().take(MOST_KEYS);
        let keys = keys.filter_map(|key| Key::of(serde_json::from_value(key).ok()?));
        Self {
            since: Some(Instant::now()),
            keys: keys.collect(),
        }
    }

    /// Those that could have signed a token.
    fn matching(&self, id: Option<&str>, algorithm: Algorithm) -> Tried {
        let by_id = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let signs = |key: &&Key| match key.algorithm {
            Some(own) => own == algorithm,
            None => key.key.family() == algorithm.family(),
        };
        let matching = self.keys.iter().filter(by_id).filter(signs);
        let keys = matching.map(|key| Arc::clone(&key.key));
        keys.take(MOST_TRIED).collect()
    }
}

impl Key {
    fn of(key: Jwk) -> Option<Self> {
        let common = &key.common;
        let is_for_signatures = match &common.public_key_use {
            None | Some(PublicKeyUse::Signature) => true,
            Some(_) => false,
        };
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        // A key for something that is not known here is for something else.
        let algorithm = match common.key_algorithm {
            Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
            None => None,
        };
        let decoding = DecodingKey::from_jwk(&key).ok()?;
        let is_long_enough = match decoding.kind() {
            DecodingKeyKind::RsaModulusExponent { n, .. } => {
                let zeros = n.iter().take_while(|byte| **byte == 0).count();
                n.len().saturating_sub(zeros) >= SHORTEST_RSA
            }
            _ => true,
        };
        Some(Self {
            id: common.key_id.clone(),
            algorithm,
            key: Arc::new(decoding),
        })
        .filter(|_| is_for_signatures && verifies && is_long_enough)
    }
}

/// Whether this can be an issuer.
pub(crate) fn is_issuer(url: &str) -> bool {
    // What is behind a `#` would be left out where it is asked, and a caller's name begins
    // behind one.
    !url.contains('#') && usable(url).is_some_and(|url| url.query().is_none())
}

/// Whether keys can be there.
pub(crate) fn is_place_of_keys(url: &str) -> bool {
    usable(url).is_some()
}

impl Keys {
    pub(super) fn new(issuer: &str, source: KeySource) -> Result<Self, Unusable> {
        if !is_issuer(issuer) {
            return Err(Unusable::Issuer);
        }
        if let KeySource::At(url) = &source
            && !is_place_of_keys(url)
        {
            return Err(Unusable::Keys);
        }
        let client = connect::client().map_err(Unusable::Tls)?;
        Ok(Self(Arc::new(Shared {
            issuer: issuer.to_owned(),
            source,
            client,
            known: RwLock::default(),
            asked: Arc::default(),
            failed: RwLock::default(),
        })))
    }

    /// The keys that could have signed a token that says this of itself. None, if there
    /// are none.
    pub(super) async fn for_token(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Tried, Unavailable> {
        let known = self.0.known();
        let found = known.matching(id, algorithm);
        let is_known = !found.is_empty() && known.is_younger_than(LONGEST_KEPT);
        if is_known && known.is_younger_than(FRESH) {
            return Ok(found);
        }
        match Arc::clone(&self.0.asked).try_lock_owned() {
            Ok(turn) => {
                // On its own: that somebody goes away keeps nobody from getting keys.
                let shared = Arc::clone(&self.0);
                let asking = tokio::spawn(async move { shared.ask(turn).await });
                // What is known still counts while an issuer is away.
                if !is_known || !self.0.is_away() {
                    let _ = timeout(PATIENCE, asking).await;
                }
            }
            // Somebody is asking, and waits for that in place of all whose keys are known.
            Err(_) if is_known => {}
            Err(_) => drop(timeout(PATIENCE, self.0.asked.lock()).await),
        }
        let known = self.0.known();
        match known.is_younger_than(LONGEST_KEPT) {
            true => Ok(known.matching(id, algorithm)),
            false => Err(Unavailable),
        }
    }
}

impl Shared {
    fn known(&self) -> Arc<Known> {
        let known = read(&self.known);
        Arc::clone(&known)
    }

    /// Whether it was asked in vain a short time ago.
    fn is_away(&self) -> bool {
        let failed = read(&self.failed);
        failed.is_some_and(|when| when.elapsed() < AWAY)
    }

    /// Asks the issuer, unless somebody just did.
    async fn ask(&self, mut asked: OwnedMutexGuard<Option<Instant>>) {
        if asked.is_some_and(|when| when.elapsed() < PAUSE) {
            return;
        }
        let late = || Err("it does not answer in 5 s".into());
        let keys = timeout(PATIENCE, self.keys()).await;
        let keys = keys.unwrap_or_else(|_| late());
        *write(&self.failed) = keys.is_err().then(Instant::now);
        match keys {
            Ok(set) => {
                let mut known = write(&self.known);
                *known = Arc::new(Known::of(set));
            }
            Err(error) => {
                let issuer = &*self.issuer;
                tracing::error!(issuer, %error, "cannot get the keys of the issuer of tokens");
            }
        }
        *asked = Some(Instant::now());
    }

    async fn keys(&self) -> Result<Set, BoxError> {
        let url = match &self.source {
            KeySource::At(url) => url.clone(),
            KeySource::Discovered => self.discover().await?,
        };
        let url = usable(&url).ok_or("jwks_uri is not an https URL")?;
        let text = self.get(url).await?;
        serde_json::from_slice(&text).map_err(|_| "what is there is no JWK set".into())
    }

    /// Where the issuer says that its keys are: RFC 8414, or else OpenID Connect
    /// Discovery.
    async fn discover(&self) -> Result<String, BoxError> {
        let mut last = "its metadata is not there".into();
        for url in metadata_urls(&self.issuer) {
            match self.metadata(url).await {
                Ok(keys) => return Ok(keys),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn metadata(&self, url: String) -> Result<String, BoxError> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let url = usable(&url).ok_or("the issuer is not an https URL")?;
        let text = self.get(url).await?;
        let metadata: Metadata =
            serde_json::from_slice(&text).map_err(|_| "its metadata cannot be read")?;
        match metadata.issuer == self.issuer {
            // What is far away has no keys on this machine.
            true if is_plain(&metadata.jwks_uri) && !is_plain(&self.issuer) => {
                Err("its jwks_uri is not an https URL".into())
            }
            true => Ok(metadata.jwks_uri),
            false => Err("its metadata is of another issuer".into()),
        }
    }

    /// Redirections are not followed.
    async fn get(&self, url: Uri) -> Result<Bytes, BoxError> {
        let request = Request::get(url).header(ACCEPT, "application/json");
        let request = request.body(Empty::new())?;
        let answer = self.client.request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()).into());
        }
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER);
        Ok(body.collect().await?.to_bytes())
    }
}

/// Where the metadata of an issuer can be.
fn metadata_urls(issuer: &str) -> Vec<String> {
    let issuer = issuer.trim_end_matches('/');
    let after_host = issuer.find("://").and_then(|scheme| {
        issuer
            .get(scheme + 3..)?
            .find('/')
            .map(|at| scheme + 3 + at)
    });
    let (host, path) = match after_host.and_then(|at| issuer.split_at_checked(at)) {
        Some(split) => split,
        None => (issuer, ""),
    };
    let mut urls = vec![
        format!("{host}/.well-known/oauth-authorization-server{path}"),
        format!("{host}/.well-known/openid-configuration{path}"),
        format!("{issuer}/.well-known/openid-configuration"),
    ];
    urls.dedup();
    urls
}

/// Whether a URL is for HTTP without TLS.
fn is_plain(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_some_and(|uri| uri.scheme() == Some(&Scheme::HTTP))
}

/// A URL whose answers can be believed.
fn usable(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let is_plain = !url.contains('#') && !authority.as_str().contains('@');
    let host = authority.host().to_ascii_lowercase();
    let is_safe = uri.scheme() == Some(&Scheme::HTTPS)
        || (uri.scheme() == Some(&Scheme::HTTP) && access::is_loopback(&host));
    (is_plain && is_safe && !host.is_empty()).then_some(uri)
}

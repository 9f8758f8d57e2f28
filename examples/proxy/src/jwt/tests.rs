use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use ring::{rand::SystemRandom, signature};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Demands, Denied, KeySource, Verifier};

/// Something that signs.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn ec(id: &'static str) -> Self {
        let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = signature::EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        Self {
            id,
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(key.as_ref()),
        }
    }

    fn published(&self) -> Value {
        let mut key = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        key.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(key).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

/// An issuer that answers what it has.
#[derive(Clone)]
struct Issuer {
    address: SocketAddr,
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            address: listener.local_addr().unwrap(),
            keys: Arc::default(),
            asked: Arc::default(),
        };
        issuer.publish(keys);
        let answering = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = answering.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = issuer.answer(request.uri().path());
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        issuer
    }

    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|key| key.published()).collect();
        self.publish_as(json!({ "keys": keys }));
    }

    fn publish_as(&self, keys: Value) {
        *self.keys.lock().unwrap() = Some(keys);
    }

    fn name(&self) -> String {
        format!("http://{}/realms/agents", self.address)
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let keys = self.keys.lock().unwrap().clone();
        let body = match (path, keys) {
            ("/realms/agents/.well-known/openid-configuration", Some(_)) => {
                json!({ "issuer": self.name(), "jwks_uri": format!("http://{}/keys", self.address) })
            }
            ("/keys", Some(keys)) => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                keys
            }
            _ => {
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::NOT_FOUND;
                return answer;
            }
        };
        Response::new(Full::from(body.to_string()))
    }

    fn verifier(&self, scopes: &[&str]) -> Verifier {
        let demands = Demands {
            issuer: self.name(),
            audience: "https://gateway.example.com/mcp/kestra".to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            caller: "sub".to_owned(),
        };
        Verifier::new(demands, KeySource::Discovered).unwrap()
    }

    /// What a token says that is let in.
    fn claims(&self) -> Value {
        json!({
            "iss": self.name(), "aud": ["https://gateway.example.com/mcp/kestra", "other"],
            "sub": "alice", "exp": now() + 300, "nbf": now() - 5, "scope": "read run",
            "team": "ops",
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value),
    };
    claims
}

#[tokio::test]
async fn a_token_of_the_issuer_for_this_audience_names_its_caller() {
    let key = Signer::ec("a");
    let issuer = Issuer::start(&[&key]).await;
    let verifier = issuer.verifier(&["run"]);
    for _ in 0..3 {
        let caller = verifier.verify(&key.sign(&issuer.claims())).await.unwrap();
        assert_eq!(caller.id(), "alice");
        assert_eq!(caller.claims()["team"], "ops");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_denied() {
    let (key, other) = (Signer::ec("a"), Signer::ec("a"));
    let issuer = Issuer::start(&[&key]).await;
    let verifier = issuer.verifier(&[]);
    let good = issuer.claims();
    let denied = |token: String| {
        let verifier = &verifier;
        async move {
            match verifier.verify(&token).await {
                Err(Denied::Invalid(why)) => {
                    assert!(!why.contains("alice"));
                    why
                }
                other => panic!("{other:?}: {token}"),
            }
        }
    };
    for (name, value, expected) in [
        ("exp", json!(now() - 60), "the token has expired"),
        ("exp", Value::Null, "the token has no exp, iss or aud"),
        ("exp", json!("never"), "the token has no exp, iss or aud"),
        ("nbf", json!("never"), "the token cannot be read"),
        ("nbf", json!(now() + 60), "the token is not valid yet"),
        ("aud", json!("other"), "the token is for somebody else"),
        ("aud", json!([]), "the token is for somebody else"),
        ("aud", Value::Null, "the token has no exp, iss or aud"),
        (
            "iss",
            json!("http://127.0.0.1/"),
            "the token is of another issuer",
        ),
        ("iss", Value::Null, "the token has no exp, iss or aud"),
        ("sub", Value::Null, "the token does not say whose it is"),
        ("sub", json!(""), "the token does not say whose it is"),
        ("sub", json!(7), "the token does not say whose it is"),
        (
            "sub",
            json!("a".repeat(257)),
            "the token does not say whose it is",
        ),
    ] {
        let claims = with(&good, name, value);
        assert_eq!(denied(key.sign(&claims)).await, expected, "{claims}");
    }
    let token = key.sign(&good);
    let forged = denied(other.sign(&good)).await;
    assert_eq!(forged, "the token is signed with no key of the issuer");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let changed = format!("{head}.{}", signature.chars().rev().collect::<String>());
    denied(changed).await;
    denied(format!("{head}.")).await;
    for no_token in ["", ".", "..", "a.b.c", "mcpp_00"] {
        denied(no_token.to_owned()).await;
    }
    denied(key.sign(&with(&good, "more", json!("x".repeat(20_000))))).await;
}

/// What attacks on verifiers look like: RFC 8725.
#[tokio::test]
async fn a_token_does_not_choose_how_it_is_verified() {
    let key = Signer::ec("a");
    let issuer = Issuer::start(&[&key]).await;
    let verifier = issuer.verifier(&[]);
    let published = key.published();
    // The public key as a secret that both know.
    for secret in [published["x"].as_str().unwrap(), &published.to_string()] {
        let secret = EncodingKey::from_secret(secret.as_bytes()).unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("a".to_owned());
        let token = encode(&header, &issuer.claims(), &secret).unwrap();
        assert!(matches!(
            verifier.verify(&token).await,
            Err(Denied::Invalid(_))
        ));
    }
    let token = key.sign(&issuer.claims());
    let (_, rest) = token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let stranger = Signer::ec("a");
    for header in [
        json!({ "alg": "none", "kid": "a" }),
        json!({ "alg": "None" }),
        json!({ "alg": "ES256", "kid": "a", "crit": ["exp"] }),
        // A key that the token brings along.
        json!({ "alg": "ES256", "kid": "a", "jwk": stranger.published() }),
    ] {
        use base64::Engine as _;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header.to_string());
        for signature in ["", signature] {
            let token = format!("{header}.{claims}.{signature}");
            assert!(
                matches!(verifier.verify(&token).await, Err(Denied::Invalid(_))),
                "{token}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_without_a_scope_could_be_cured_by_another() {
    let key = Signer::ec("a");
    let issuer = Issuer::start(&[&key]).await;
    let verifier = issuer.verifier(&["read", "run"]);
    let good = issuer.claims();
    for (scope, lets_in) in [
        (json!("run read more"), true),
        (json!("run"), false),
        (json!("running read"), false),
        (Value::Null, false),
    ] {
        let answer = verifier
            .verify(&key.sign(&with(&good, "scope", scope.clone())))
            .await;
        match lets_in {
            true => assert!(answer.is_ok(), "{scope}"),
            false => assert_eq!(answer, Err(Denied::Scope), "{scope}"),
        }
    }
    let as_list = with(
        &with(&good, "scope", Value::Null),
        "scp",
        json!(["read", "run"]),
    );
    assert!(verifier.verify(&key.sign(&as_list)).await.is_ok());
    // Whoever is nobody is not told about scopes.
    let expired = with(&with(&good, "scope", Value::Null), "exp", json!(1));
    let denied = verifier.verify(&key.sign(&expired)).await;
    assert_eq!(denied, Err(Denied::Invalid("the token has expired")));
}

/// As if so many seconds had passed.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn keys_are_rotated() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = issuer.verifier(&[]);
    let tokens = [&old, &new].map(|key| key.sign(&issuer.claims()));
    let [by_old, by_new] = &tokens;
    assert!(verifier.verify(by_old).await.is_ok());
    // Nobody makes this ask more often by naming keys that there are not.
    for _ in 0..5 {
        assert!(matches!(
            verifier.verify(by_new).await,
            Err(Denied::Invalid(_))
        ));
    }
    assert_eq!(issuer.asked(), 1);
    issuer.publish(&[&old, &new]);
    later(11).await;
    assert!(verifier.verify(by_new).await.is_ok());
    assert_eq!(issuer.asked(), 2);
    // What is taken back counts no longer than for a quarter of an hour.
    issuer.publish(&[&new]);
    assert!(verifier.verify(by_old).await.is_ok());
    later(15 * 60).await;
    assert!(verifier.verify(by_old).await.is_err());
    assert_eq!(issuer.asked(), 3);
    assert!(verifier.verify(by_new).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_away_is_missed_only_after_a_day() {
    let key = Signer::ec("a");
    let issuer = Issuer::start(&[]).await;
    *issuer.keys.lock().unwrap() = None;
    let verifier = issuer.verifier(&[]);
    let token = || key.sign(&with(&issuer.claims(), "exp", json!(now() + 1_000_000)));
    assert_eq!(verifier.verify(&token()).await, Err(Denied::Unavailable));
    issuer.publish(&[&key]);
    // It is not asked again at once.
    assert_eq!(verifier.verify(&token()).await, Err(Denied::Unavailable));
    later(11).await;
    assert!(verifier.verify(&token()).await.is_ok());
    *issuer.keys.lock().unwrap() = None;
    later(23 * 60 * 60).await;
    assert!(verifier.verify(&token()).await.is_ok());
    later(2 * 60 * 60).await;
    assert_eq!(verifier.verify(&token()).await, Err(Denied::Unavailable));
}

#[tokio::test]
async fn a_key_that_is_for_something_else_verifies_nothing() {
    let key = Signer::ec("a");
    let published = key.published();
    for (change, lets_in) in [
        (json!({ "use": "sig" }), true),
        (json!({ "use": "enc" }), false),
        (json!({ "key_ops": ["verify"] }), true),
        (json!({ "key_ops": ["sign"] }), false),
        (json!({ "alg": "ES384" }), false),
        (json!({ "alg": "ECDH-ES" }), false),
        (json!({ "kid": "b" }), false),
        (json!({ "kty": "oct", "k": "AAAA", "alg": "ES256" }), false),
    ] {
        let mut changed = published.clone();
        changed
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let issuer = Issuer::start(&[]).await;
        // Beside one that nobody understands.
        issuer.publish_as(json!({ "keys": [ { "kty": "new", "use": 7 }, changed ] }));
        let verifier = issuer.verifier(&[]);
        let answer = verifier.verify(&key.sign(&issuer.claims())).await;
        assert_eq!(answer.is_ok(), lets_in, "{change}: {answer:?}");
    }
}

#[test]
fn only_an_issuer_that_can_be_believed_is_asked() {
    for (issuer, is_usable) in [
        ("https://login.example.com/realms/agents", true),
        ("http://127.0.0.1:8080/realms/agents", true),
        ("http://login.example.com/", false),
        ("https://login.example.com/?tenant=a", false),
        ("https://user@login.example.com/", false),
        ("login.example.com", false),
        ("", false),
    ] {
        let keys = super::keys::Keys::new(issuer, KeySource::Discovered);
        assert_eq!(keys.is_ok(), is_usable, "{issuer}");
    }
    let at = KeySource::At("http://keys.example.com/".to_owned());
    assert!(super::keys::Keys::new("https://login.example.com", at).is_err());
}

/// Whoever waits does not wait for the others, and leaves nothing behind.
#[tokio::test]
async fn an_issuer_that_hangs_keeps_everybody_for_so_long_only() {
    let key = Signer::ec("a");
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Issuer {
        address: hangs.local_addr().unwrap(),
        keys: Arc::default(),
        asked: Arc::default(),
    };
    let verifier = Arc::new(issuer.verifier(&[]));
    let token = key.sign(&issuer.claims());
    let all = (0..50).map(|_| {
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    let before = tokio::time::Instant::now();
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), Err(Denied::Unavailable));
    }
    // Ten of them, one after another, would be as many times as long.
    assert!(before.elapsed() < Duration::from_secs(30));
}

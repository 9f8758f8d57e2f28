use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, jwk::Jwk,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[path = "../../tests/it/issuer.rs"]
mod issuer;

use self::issuer::{Issuer, Signer};
use super::{Demands, Denied, KeySource, Verifier};

/// As OpenID Connect Discovery has it, which is asked for last.
const METADATA: &str = "/realms/agents/.well-known/openid-configuration";

async fn issuer(keys: &[&Signer]) -> Issuer {
    Issuer::start(METADATA, keys).await
}

impl Signer {
    /// A token that says that it is this.
    fn sign_as(&self, kind: Option<&str>, claims: &Value) -> String {
        let mut header = self.header();
        header.typ = kind.map(str::to_owned);
        encode(&header, claims, &self.key).unwrap()
    }
}

impl Issuer {
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
    let issuer = issuer(&[&key]).await;
    let verifier = issuer.verifier(&["run"]);
    for _ in 0..3 {
        let (caller, _) = verifier.verify(&key.sign(&issuer.claims())).await.unwrap();
        // Whoever another issuer calls so is another one.
        assert_eq!(caller.id(), format!("{}#alice", issuer.name()));
        assert_eq!(caller.claims()["team"], "ops");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_denied() {
    let (key, other) = (Signer::ec("a"), Signer::ec("a"));
    let issuer = issuer(&[&key]).await;
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
    let issuer = issuer(&[&key]).await;
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

/// Other tokens of an issuer can have the same key and audience.
#[tokio::test]
async fn a_token_for_something_else_lets_nobody_in() {
    const OTHER: Denied = Denied::Invalid("the token is no access token");
    let key = Signer::ec("a");
    let issuer = issuer(&[&key]).await;
    let verifier = issuer.verifier(&[]);
    let good = issuer.claims();
    for kind in [
        None,
        Some("JWT"),
        Some("jwt"),
        Some("at+jwt"),
        Some("AT+JWT"),
        Some("application/at+jwt"),
    ] {
        let answer = verifier.verify(&key.sign_as(kind, &good)).await;
        assert!(answer.is_ok(), "{kind:?}: {answer:?}");
    }
    for kind in [
        "",
        "id_token",
        "id+jwt",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "JWE",
        "xat+jwt",
        "at+jwt ",
    ] {
        let denied = verifier.verify(&key.sign_as(Some(kind), &good)).await;
        assert_eq!(denied.unwrap_err(), OTHER, "{kind}");
    }
    for (claim, value, of_access_token) in [
        ("events", json!({ "https://a/logout": {} }), Some(OTHER)),
        ("events", json!(null), Some(OTHER)),
        ("nonce", json!("n-0S6"), None),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        for kind in [None, Some("JWT")] {
            let denied = verifier.verify(&key.sign_as(kind, &claims)).await;
            assert_eq!(denied.unwrap_err(), OTHER, "{claims}");
        }
        for kind in ["at+jwt", "application/At+JWT"] {
            let answer = verifier.verify(&key.sign_as(Some(kind), &claims)).await;
            assert_eq!(answer.err(), of_access_token, "{claims}");
        }
    }
}

/// Whoever has it need not be whom it was made for (RFC 7800, 8705 and 9449).
#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    let key = Signer::ec("a");
    let issuer = issuer(&[&key]).await;
    let verifier = issuer.verifier(&[]);
    for bound in [
        json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
        json!({ "jwk": key.published() }),
        json!({}),
        json!(null),
    ] {
        let mut claims = issuer.claims();
        claims["cnf"] = bound;
        for kind in ["JWT", "at+jwt"] {
            match verifier.verify(&key.sign_as(Some(kind), &claims)).await {
                Err(Denied::Invalid(why)) => assert!(why.contains("bound to a key"), "{why}"),
                other => panic!("{other:?}: {claims}"),
            }
        }
    }
}

/// 1024 bits, as PKCS#1.
const SHORT_RSA_KEY: &str = "MIICXAIBAAKBgQC6JUuWoMVhkLVx2fRmliWxVlfQUj/W7S6T6oFhzwWDhKB3w/yt5J8tS4Ynd88LBhtu4jp3pMsl\
    PGt9QIx0OtZY4AdRbzmZYrt3cEIrZO0XHETf6DDPLc9mYyAVxOBLPIk7dCT1PUKBgCowgatIflPH54CixI41JdYv\
    Nw95gTagdQIDAQABAoGAaK960C6AcvtIH8xct6jvb8lIP39SKdRf4o36z3/28N0Qxeox27X8kyOrQd0OUnvPx89w\
    5EKIgNt29AzuMJu6WXGoPwqNbkqsY9JbVue4J44SeldGfOGDIXMA54hOqKzvdnBXUw5RUhXoF24Cjkv2HmVDMwUl\
    ytsrgf8L7fZY2uECQQDeZdz2ieu9d9g8jaQfjbYnrer/d+EdafcWHr2P+l7mxfYAf9WAwROLMZaFVKTBR5chGbgk\
    U8OFfVz360Vvr+ppAkEA1kU7MO0g6Od516w2ZquO1mrDzeKYs1uO46K0blaY9DVlADG13VQiJjcf+4+ELiZIhRnL\
    tTg99QNmsAnSxTGMLQJBAMCxA218/IsyHmIA2zYXo77nepgUdzD0EgjRY68u4DEVTlsKZ6NiJpvQwDkPqJxqefBN\
    B3Y6OUsc3oNUDtqBUhkCQHkmVcxZFxV448RVA8FTWQTVAvbjGxG2P/lnYntMjVju47eTY8/LpS9UVcoHoGXzkWdo\
    aWyCa02gaaw5Man7VNUCQBaiJz58OuRAw+X4xji0AkgvIWzRrp8IKnT8zUiOepZzZzhQnHZdbF/ZJbyxPeK4FHvY\
    m1Dqrt5QH4mTwKEWL5w=";

#[tokio::test]
async fn a_short_rsa_key_verifies_nothing() {
    let key = base64::Engine::decode(&STANDARD, SHORT_RSA_KEY).unwrap();
    let short = Signer {
        id: "a",
        algorithm: Algorithm::RS256,
        key: EncodingKey::from_rsa_der(&key),
    };
    let issuer = issuer(&[&short]).await;
    let token = short.sign(&issuer.claims());
    let denied = issuer.verifier(&[]).verify(&token).await.unwrap_err();
    let expected = Denied::Invalid("the token is signed with no key of the issuer");
    assert_eq!(denied, expected);
    // By its length alone.
    let published: Jwk = serde_json::from_value(short.published()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["other"]);
    let key = DecodingKey::from_jwk(&published).unwrap();
    assert!(decode::<Value>(&token, &key, &validation).is_ok());
}

#[tokio::test]
async fn a_token_without_a_scope_could_be_cured_by_another() {
    let key = Signer::ec("a");
    let issuer = issuer(&[&key]).await;
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
            false => assert_eq!(answer.unwrap_err(), Denied::Scope, "{scope}"),
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
    let expected = Denied::Invalid("the token has expired");
    assert_eq!(denied.unwrap_err(), expected);
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
    let issuer = issuer(&[&old]).await;
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
    let issuer = issuer(&[]).await;
    *issuer.keys.lock().unwrap() = None;
    let verifier = issuer.verifier(&[]);
    let token = || key.sign(&with(&issuer.claims(), "exp", json!(now() + 1_000_000)));
    let denied = verifier.verify(&token()).await.unwrap_err();
    assert_eq!(denied, Denied::Unavailable);
    issuer.publish(&[&key]);
    // It is not asked again at once.
    let denied = verifier.verify(&token()).await.unwrap_err();
    assert_eq!(denied, Denied::Unavailable);
    later(11).await;
    assert!(verifier.verify(&token()).await.is_ok());
    *issuer.keys.lock().unwrap() = None;
    later(23 * 60 * 60).await;
    assert!(verifier.verify(&token()).await.is_ok());
    later(2 * 60 * 60).await;
    let denied = verifier.verify(&token()).await.unwrap_err();
    assert_eq!(denied, Denied::Unavailable);
}

/// However long nobody called since.
#[tokio::test]
async fn an_issuer_that_was_away_is_heard_before_a_key_that_it_has_taken_back_counts() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let issuer = issuer(&[&old]).await;
    let verifier = issuer.verifier(&[]);
    let tokens = [&old, &new].map(|key| key.sign(&issuer.claims()));
    let [by_old, by_new] = &tokens;
    assert!(verifier.verify(by_old).await.is_ok());
    *issuer.keys.lock().unwrap() = None;
    later(16 * 60).await;
    assert!(verifier.verify(by_old).await.is_ok());
    issuer.publish(&[&new]);
    later(60 * 60).await;
    assert!(verifier.verify(by_old).await.is_err());
    assert!(verifier.verify(by_new).await.is_ok());
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
        let issuer = issuer(&[]).await;
        // Beside one that nobody understands.
        let keys = json!({ "keys": [ { "kty": "new", "use": 7 }, changed ] });
        *issuer.keys.lock().unwrap() = Some(keys);
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
#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_keeps_everybody_for_so_long_only() {
    let key = Signer::ec("a");
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Issuer {
        address: hangs.local_addr().unwrap(),
        metadata: METADATA,
        keys: Arc::default(),
        asked: Arc::default(),
        hangs: Arc::default(),
    };
    let verifier = Arc::new(issuer.verifier(&[]));
    let token = key.sign(&issuer.claims());
    let all = (0..50).map(|_| {
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    let before = tokio::time::Instant::now();
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().unwrap_err(), Denied::Unavailable);
    }
    // Two of them, one after another, would take as long again.
    assert!(before.elapsed() < Duration::from_secs(8));
}

/// Only the first of them waits to hear that it does not answer, and whoever comes meanwhile
/// does not.
#[tokio::test]
async fn an_issuer_that_hangs_keeps_nobody_whose_key_is_known() {
    let key = Signer::ec("a");
    let issuer = issuer(&[&key]).await;
    let verifier = Arc::new(issuer.verifier(&[]));
    let token = key.sign(&issuer.claims());
    assert!(verifier.verify(&token).await.is_ok());
    issuer.hangs.store(true, Ordering::Relaxed);
    later(16 * 60).await;
    // From here on time passes where everybody waits.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let first = tokio::spawn({
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        async move { verifier.verify(&token).await }
    });
    tokio::task::yield_now().await;
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!first.is_finished());
    assert!(first.await.unwrap().is_ok());
    assert!(began.elapsed() >= Duration::from_secs(5));
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(11)).await;
        let before = tokio::time::Instant::now();
        assert!(verifier.verify(&token).await.is_ok());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}

#[test]
fn an_issuer_has_neither_a_query_nor_a_fragment() {
    for (url, expected) in [
        ("https://a.example", true),
        ("https://a.example/tenant", true),
        ("https://a.example?b=c", false),
        ("https://a.example#b", false),
        ("https://a.example/#", false),
        ("http://a.example", false),
    ] {
        assert_eq!(super::is_issuer(url), expected, "{url}");
    }
}

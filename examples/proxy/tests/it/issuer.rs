//! An issuer of tokens. The tests of `src/jwt` have it from here.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
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

/// Something that signs.
pub(crate) struct Signer {
    pub(crate) id: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
}

impl Signer {
    pub(crate) fn ec(id: &'static str) -> Self {
        let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = signature::EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        Self {
            id,
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(key.as_ref()),
        }
    }

    pub(crate) fn published(&self) -> Value {
        let mut key = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        key.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(key).unwrap()
    }

    pub(crate) fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        header
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

/// An issuer that answers what it has.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) address: SocketAddr,
    /// Where its metadata is.
    pub(crate) metadata: &'static str,
    pub(crate) keys: Arc<Mutex<Option<Value>>>,
    /// How often it was asked for them.
    pub(crate) asked: Arc<AtomicUsize>,
    /// Whether it does not answer.
    pub(crate) hangs: Arc<AtomicBool>,
}

impl Issuer {
    pub(crate) async fn start(metadata: &'static str, keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            address: listener.local_addr().unwrap(),
            metadata,
            keys: Arc::default(),
            asked: Arc::default(),
            hangs: Arc::default(),
        };
        issuer.publish(keys);
        let answering = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = answering.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = issuer.answer(request.uri().path());
                    let hangs = issuer.hangs.load(Ordering::Relaxed);
                    async move {
                        if hangs {
                            std::future::pending::<()>().await;
                        }
                        Ok::<_, Infallible>(answer)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        issuer
    }

    pub(crate) fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|key| key.published()).collect();
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    pub(crate) fn name(&self) -> String {
        format!("http://{}/realms/agents", self.address)
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let keys = self.keys.lock().unwrap().clone();
        let body = match keys {
            Some(_) if path == self.metadata => {
                json!({ "issuer": self.name(), "jwks_uri": format!("http://{}/keys", self.address) })
            }
            Some(keys) if path == "/keys" => {
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
}

//! A server of tests that speaks TLS, and connectors that trust it.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;

use super::*;

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("../../tests/localhost/certificate.pem")).unwrap()
}

/// One that trusts the server below, and nobody else.
pub(crate) fn connector() -> Connector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    Connector::trusting(|config| config.with_root_certificates(roots)).unwrap()
}

/// Answers at a port of this machine, by the first of these protocols that the other side
/// speaks, too, and tells of each connection what was agreed on.
pub(crate) async fn serve<S, B>(
    protocols: &[&str],
    service: S,
) -> (u16, mpsc::UnboundedReceiver<Option<Vec<u8>>>)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let key =
        PrivateKeyDer::from_pem_slice(include_bytes!("../../tests/localhost/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key)
        .unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, service, tell) = (acceptor.clone(), service.clone(), tell.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                let _ = tell.send(protocol);
                let http = auto::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, told)
}

#[tokio::test]
async fn where_there_is_no_tls_no_url_that_asks_for_it_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = |scheme| Uri::try_from(format!("{scheme}://{address}/")).unwrap();
    let mut connector = Connector::to(&url("http")).unwrap();
    assert!(connector.call(url("http")).await.is_ok());
    assert!(connector.call(url("https")).await.is_err());
}

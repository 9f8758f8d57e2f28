//! How a connection to the upstream is made.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, client::WantsClientCert};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

/// For name lookup, TCP and TLS together. There is no limit on the answer,
/// because streams live long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which the kernel asks whether the other side is still there,
/// so that a stream to a server that lost its power does not hang for hours.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Who may vouch for a server: everybody whom the world trusts, so that an image with
/// nothing but this program needs no list; and whom this machine trusts besides, or
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name, such as the authority of a company.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let own = rustls_native_certs::load_native_certs();
    for error in own.errors {
        tracing::warn!(%error, "cannot read some of the certificates that this machine trusts");
    }
    roots.add_parsable_certificates(own.certs);
    Arc::new(roots)
});

/// Connects by HTTP or HTTPS, within a time.
#[derive(Clone, Debug)]
pub(crate) enum Connector {
    /// By HTTP alone.
    Plain(HttpConnector),
    /// By what the URL says.
    Any(HttpsConnector<HttpConnector>),
}

impl Connector {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Self::trusting(|config| config.with_root_certificates(Arc::clone(&ROOTS)))
    }

    /// One for this server alone, which reads nobody's certificates if it needs none.
    pub(crate) fn to(server: &Uri) -> Result<Self, rustls::Error> {
        if server.scheme() == Some(&Scheme::HTTP) {
            Ok(Self::Plain(tcp()))
        } else {
            Self::new()
        }
    }

    /// The same, for servers whose certificates are of whom this says.
    fn trusting(
        roots: impl FnOnce(
            ConfigBuilder<ClientConfig, WantsVerifier>,
        ) -> ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<Self, rustls::Error> {
        // Named, because with two providers in a build rustls takes neither.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = roots(config.with_safe_default_protocol_versions()?);
        let mut tcp = tcp();
        tcp.enforce_http(false);
        Ok(Self::Any(
            HttpsConnectorBuilder::new()
                .with_tls_config(config.with_no_client_auth())
                .https_or_http()
                // The server chooses one of them (ALPN), HTTP/2 if it can.
                .enable_http1()
                .enable_http2()
                .wrap_connector(tcp),
        ))
    }
}

/// Connects by HTTP alone, and refuses every other URL.
fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp
}

/// A client for whom the proxy asks now and then, besides the upstreams.
pub(crate) fn client<B>() -> Result<Client<Connector, B>, rustls::Error>
where
    B: Body + Send,
    B::Data: Send,
{
    let connector = Connector::new()?;
    let mut client = Client::builder(TokioExecutor::new());
    Ok(client.pool_timer(TokioTimer::new()).build(connector))
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Plain(tcp) => tcp.poll_ready(cx).map_err(BoxError::from),
            Self::Any(https) => https.poll_ready(cx),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting: Self::Future = match self {
            Self::Plain(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
            Self::Any(https) => https.call(uri),
        };
        // hyper's own connect timeout is for TCP alone: a server that accepts
        // and then never answers the handshake would get around it.
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .map_err(|_| "the connection was not made in 10 s")?
        })
    }
}

// Where it is has to be said, because the benchmark takes this file from elsewhere.
#[cfg(test)]
#[path = "connect/tests.rs"]
pub(crate) mod tests;

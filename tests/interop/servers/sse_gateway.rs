//! The policy layer around a reverse proxy that keeps path and query: for the
//! transport of 2024-11-05, which has two addresses.
//!
//! `PROGRAM POLICY URL` guards the server at that URL and prints its own URL.

use std::error::Error;
use std::io::Write as _;

use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mcp_policy::{Policy, PolicyLayer, RequestBody};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let policy = arguments.next().ok_or("the first argument is a policy")?;
    let policy = Policy::from_path(policy)?;
    let upstream = arguments.next().ok_or("the second argument is a URL")?;
    let upstream: Uri = upstream.parse()?;
    let path = upstream.path().to_owned();

    let client = Client::builder(TokioExecutor::new()).build_http();
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(service_fn(move |request| {
            forward(client.clone(), upstream.clone(), request)
        }));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stderr(), "listening on http://{address}{path}")?;
    loop {
        let (connection, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // A client that hangs up ends its stream, which is no failure.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

type Body = RequestBody<Incoming>;

async fn forward<C>(
    client: Client<C, Body>,
    upstream: Uri,
    request: Request<Body>,
) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>>
where
    C: legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let (mut head, body) = request.into_parts();
    let mut target = upstream.into_parts();
    target.path_and_query = head.uri.path_and_query().cloned();
    head.uri = Uri::from_parts(target)?;
    // The client writes that of the new URI.
    head.headers.remove(header::HOST);
    Ok(client.request(Request::from_parts(head, body)).await?)
}

//! The proxy without what it is for: everything that a call passes but the policy layer.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::{net::TcpListener, runtime};
use tower::{BoxError, ServiceBuilder};
use tower_http::map_request_body::MapRequestBodyLayer;

use crate::{
    access::Access,
    failure::Failure,
    gateway::{Timely, entered},
    server,
    shutdown::Signals,
    traces::{self, Traced},
    upstream::{AnswerBody, Target, Upstream},
    workers::Workers,
};

pub(crate) fn run(address: &str, url: &str) -> Result<(), BoxError> {
    let address: SocketAddr = address.parse()?;
    let target = Target::new(url, [])?;
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(address, target))
}

async fn serve(address: SocketAddr, target: Target) -> Result<(), BoxError> {
    traces::start().map_err(|Failure| "cannot send traces")?;
    let listener = TcpListener::bind(address).await?;
    // The same as `gateway::guarded`, without the policy.
    let service = ServiceBuilder::new()
        .map_response(|response: Response<AnswerBody>| response.map(Plain))
        .layer(MapRequestBodyLayer::new(Timely::new))
        .layer(Traced)
        .map_request(traces::goes_on)
        .service(Upstream::<Timely>::new(target)?);
    let service = entered(Access::new(address), service);
    let workers = Workers::start()?;
    let mut signals = Signals::listen()?;
    // Ends as the gateway does: what is counted while it runs is written at its end.
    server::serve_by(workers, listener, service, async || signals.next().await).await;
    Ok(())
}

/// An answer that can be one of the proxy, too.
struct Plain(AnswerBody);

impl From<Bytes> for Plain {
    fn from(text: Bytes) -> Self {
        Self(Either::Right(Full::new(text)))
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl Body for Plain {
    type Data = Bytes;
    type Error = <AnswerBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

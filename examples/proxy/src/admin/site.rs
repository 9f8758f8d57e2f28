//! What is served on the admin address: an API for programs, pages for browsers.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use mcp_policy::Approvals;
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::timeout::RequestBodyDeadlineLayer;

use super::{
    Told,
    api::{Api, Refusal},
    operators::Operators,
    pages::{self, Live, Pages},
};
use crate::{
    access::{Access, Foreign},
    gateway::BODY_DEADLINE,
    headers,
};

/// What is answered: something whole, or a stream of what changes.
pub(super) type Answer = Response<Either<Full<Bytes>, Live>>;

/// Serves this, to operators alone.
pub(super) fn service(
    access: Access,
    operators: Operators,
    approvals: Approvals,
    told: Told,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let site = Arc::new(Site {
        access,
        api: Api::new(operators.clone(), approvals.clone(), told.status.clone()),
        pages: Pages::new(operators, approvals, told),
    });
    ServiceBuilder::new()
        .layer(RequestBodyDeadlineLayer::new(BODY_DEADLINE))
        .service_fn(move |request| {
            let site = Arc::clone(&site);
            async move { Ok(site.answer(request).await) }
        })
}

#[derive(Debug)]
struct Site {
    access: Access,
    api: Api,
    pages: Pages,
}

impl Site {
    async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        if let Err(foreign) = self.access.judge(&request) {
            return refused(foreign).response().map(Either::Left);
        }
        match is_for_a_browser(&request) {
            true => self.pages.answer(request).await,
            false => self.api.answer(request).await.map(Either::Left),
        }
    }
}

fn refused(foreign: Foreign) -> Refusal {
    let text = match foreign {
        Foreign::Host => {
            "The Host header names no host that is served here. Use a loopback name or the \
             address that the console has, or have the name allowed as one of the proxy's."
        }
        Foreign::Origin => "Web pages of other origins may not call this.",
    };
    Refusal::new(StatusCode::FORBIDDEN, text)
}

/// Whether a person sent it. Programs have a token with each request, and do not ask for
/// pages.
fn is_for_a_browser<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let says = |name, kind: &str| {
        let values = headers.get_all(name).iter();
        let mut kinds = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|value| value.split(';').next());
        kinds.any(|value| value.trim().eq_ignore_ascii_case(kind))
    };
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let has_token = credentials.any(|value| headers::bearer(value).is_some());
    pages::is_page_alone(request.uri().path())
        || (!has_token
            && (says(ACCEPT, "text/html")
                || says(CONTENT_TYPE, "application/x-www-form-urlencoded")))
}

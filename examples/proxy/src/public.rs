//! The page on the address of the callers that says what has become of a request for
//! approval, and nothing else of it: no value, no name, no caller.
//!
//! Whoever has the id of a request, which nobody can guess, may see that. [`url`] says
//! where it is.

mod url;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use askama::Template;
use bytes::Bytes;
use futures_util::future;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use mcp_policy::{ApprovalId, ApprovalState, Approvals};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};

pub(crate) use self::url::PublicUrl;
use crate::{access::Access, answers::Answers, page};

/// The path below which clients are told what has become of a call. Links to it are out
/// there, so it is not the one of the console, wherever that may move.
const PATH: &str = "/approvals";

/// What is served there.
#[derive(Clone, Debug)]
pub(crate) struct PublicPages {
    access: Access,
    path: Arc<str>,
    approvals: Approvals,
    /// Whoever looks takes a turn: calls ask the same store.
    turns: Arc<Semaphore>,
}

/// Who may look at once.
const MOST_AT_ONCE: usize = 64;

#[derive(Template)]
#[template(path = "public.html")]
struct Told<'a> {
    /// `None` if it is over.
    state: Option<ApprovalState>,
    title: &'a str,
    text: &'a str,
}

impl PublicPages {
    pub(crate) fn new(url: &PublicUrl, access: Access, approvals: Approvals) -> Self {
        Self {
            access,
            path: Arc::clone(url.path()),
            approvals,
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }
    }

    /// What is answered to a request for one of these pages, of whoever is admitted.
    pub(crate) async fn page<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let wanted = self.wanted(request).map(str::to_owned)?;
        Some(self.answer(&wanted).await)
    }

    /// What is left of the path of a request that is for these pages.
    fn wanted<'a, B>(&self, request: &'a Request<B>) -> Option<&'a str> {
        let rest = request.uri().path().strip_prefix(&*self.path)?;
        let is_here = rest == page::STYLE || rest.strip_prefix(PATH)?.starts_with('/');
        (is_here && request.method() == Method::GET).then_some(rest)
    }

    async fn answer(&self, wanted: &str) -> Response<Full<Bytes>> {
        if wanted == page::STYLE {
            return page::style();
        }
        let id = wanted
            .strip_prefix(PATH)
            .and_then(|id| id.strip_prefix('/'));
        let id = id.and_then(|id| id.parse::<ApprovalId>().ok());
        let Some(id) = id else {
            return told(None);
        };
        let Ok(_turn) = self.turns.try_acquire() else {
            return not_known_now();
        };
        match self.approvals.get(id).await {
            Ok(request) => told(request.map(|request| request.state())),
            Err(error) => {
                tracing::warn!(%error, "cannot say what has become of a request");
                not_known_now()
            }
        }
    }
}

fn not_known_now() -> Response<Full<Bytes>> {
    let told = Told {
        state: None,
        title: "Not known now",
        text: "It cannot be said what has become of this request. Reload this page in a moment.",
    };
    page::html(StatusCode::SERVICE_UNAVAILABLE, &told)
}

/// What is unknown looks like what is over.
fn told(state: Option<ApprovalState>) -> Response<Full<Bytes>> {
    let (title, text) = match state {
        Some(ApprovalState::Pending) => (
            "Waiting for approval",
            "An operator has to decide. You need not do anything here: ask one if it is urgent. \
             This page looks again by itself.",
        ),
        Some(ApprovalState::Approved) => (
            "Approved",
            "Go back to your client. If it does not go on by itself, have it make the same call \
             again.",
        ),
        Some(ApprovalState::Denied) => (
            "Denied",
            "The call is not made. Your client is told why, if the operator said so.",
        ),
        Some(ApprovalState::Used) => ("Done", "It was approved, and the call was made."),
        _ => {
            let told = Told {
                state: None,
                title: "Nothing waits here",
                text: "This request has expired, or there is none. Have your client make the call \
                       again.",
            };
            return page::html(StatusCode::NOT_FOUND, &told);
        }
    };
    page::html(StatusCode::OK, &Told { state, title, text })
}

/// A service with these pages beside it.
pub(crate) fn beside<S, Q>(service: S, pages: Option<PublicPages>) -> impl Answers<Q>
where
    S: Answers<Q>,
    Q: 'static,
{
    let pages = pages.map(Arc::new);
    let service = service.map_response(passed_on as fn(Response<S::Body>) -> Answer<S::Body>);
    Beside { service, pages }
}

type Answer<B> = Response<Either<Full<Bytes>, B>>;

fn passed_on<B>(response: Response<B>) -> Answer<B> {
    response.map(Either::Right)
}

#[derive(Clone)]
struct Beside<S> {
    service: S,
    pages: Option<Arc<PublicPages>>,
}

impl<S, Q, B> Service<Request<Q>> for Beside<S>
where
    S: Service<Request<Q>, Response = Answer<B>, Error = Infallible>,
{
    type Response = Answer<B>;
    type Error = Infallible;
    type Future = future::Either<
        Pin<Box<dyn Future<Output = Result<Answer<B>, Infallible>> + Send>>,
        S::Future,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        if let Some(pages) = &self.pages
            && let Some(wanted) = pages.wanted(&request).map(str::to_owned)
            && pages.access.judge(&request).is_ok()
        {
            let pages = Arc::clone(pages);
            let answer = async move { Ok(pages.answer(&wanted).await.map(Either::Left)) };
            return future::Either::Left(Box::pin(answer));
        }
        future::Either::Right(self.service.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response<Full<Bytes>>) -> (StatusCode, Bytes) {
        let status = response.status();
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        (status, body.unwrap().to_bytes())
    }

    /// A store that does not answer at the moment, and how often it was asked.
    #[derive(Default)]
    struct Slow(std::sync::atomic::AtomicUsize);

    impl mcp_policy::ApprovalStore for Slow {
        fn ask(
            &self,
            _: &mcp_policy::ApprovalQuestion,
        ) -> mcp_policy::StoreAnswer<mcp_policy::ApprovalAsked> {
            mcp_policy::StoreAnswer::pending(future::pending())
        }

        fn use_up(
            &self,
            _: ApprovalId,
            _: &mcp_policy::CallDigest,
            _: mcp_policy::Moment,
        ) -> mcp_policy::StoreAnswer<mcp_policy::ApprovalUsed> {
            mcp_policy::StoreAnswer::pending(future::pending())
        }

        fn decide(
            &self,
            _: ApprovalId,
            _: &mcp_policy::Ruling,
            _: mcp_policy::Moment,
        ) -> mcp_policy::StoreAnswer<Result<mcp_policy::ApprovalRequest, mcp_policy::NotDecided>>
        {
            mcp_policy::StoreAnswer::pending(future::pending())
        }

        fn cancel(&self, _: ApprovalId, _: mcp_policy::Moment) -> mcp_policy::StoreAnswer<bool> {
            mcp_policy::StoreAnswer::pending(future::pending())
        }

        fn get(
            &self,
            _: ApprovalId,
            _: mcp_policy::Moment,
        ) -> mcp_policy::StoreAnswer<Option<mcp_policy::ApprovalRequest>> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            mcp_policy::StoreAnswer::pending(future::pending())
        }

        fn list(
            &self,
            _: &[ApprovalState],
            _: mcp_policy::Moment,
        ) -> mcp_policy::StoreAnswer<Vec<mcp_policy::ApprovalRequest>> {
            mcp_policy::StoreAnswer::pending(future::pending())
        }

        fn changes(&self) -> mcp_policy::ApprovalChanges {
            mcp_policy::ApprovalChanges::default()
        }
    }

    /// What strangers ask has a share of its own: a store takes 1 024 questions at once,
    /// and calls that are one too many are refused.
    #[tokio::test]
    async fn strangers_do_not_take_the_room_for_what_calls_ask() {
        use futures_util::FutureExt as _;

        let store = Arc::new(Slow::default());
        let url = PublicUrl::parse("https://gateway.example.com").unwrap();
        let access = Access::new("127.0.0.1:1".parse().unwrap());
        let pages = PublicPages::new(&url, access, Approvals::new(Arc::clone(&store)));
        let paths: Vec<_> = (0..1_024).map(|id| format!("{PATH}/{id:032x}")).collect();
        let mut open: Vec<_> = paths
            .iter()
            .map(|path| Box::pin(pages.answer(path)))
            .collect();
        for answer in &mut open {
            let _ = answer.now_or_never();
        }
        let asked = store.0.load(std::sync::atomic::Ordering::Relaxed);
        assert!(asked <= 128, "{asked} questions of strangers at once");
    }

    #[tokio::test]
    async fn what_is_over_looks_like_what_never_was() {
        let unknown = text(told(None)).await;
        assert_eq!(unknown.0, StatusCode::NOT_FOUND);
        for over in [ApprovalState::Expired, ApprovalState::Cancelled] {
            assert_eq!(text(told(Some(over))).await, unknown);
        }
        for state in [ApprovalState::Pending, ApprovalState::Used] {
            let told = text(told(Some(state))).await;
            assert_eq!(told.0, StatusCode::OK);
            let refreshes = String::from_utf8_lossy(&told.1).contains("http-equiv=\"refresh\"");
            assert_eq!(refreshes, state == ApprovalState::Pending);
        }
    }
}

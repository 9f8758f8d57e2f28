use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts as RequestHead;
use http::response::Parts as ResponseHead;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::answer::{self, Treatment};
use super::collect::{Collect, CollectError, Collected};
use super::config::Config;
use super::events::Events;
use super::exchange::{Asked, Exchange};
use super::request;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;

type Answer<R> = Response<ResponseBody<R>>;

/// The future of a [`PolicyService`](crate::PolicyService).
///
/// Dropping it drops the inner call, if there is one by then.
#[pin_project]
pub struct ResponseFuture<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    #[pin]
    state: State<S, S::Future, B, R>,
}

#[pin_project(project = StateProject)]
enum State<S, F, B, R> {
    /// There is an answer: a refusal, or one of the inner service.
    Answered(Option<Box<Answer<R>>>),
    /// The request body is being read.
    Reading(#[pin] Collect<B>, Option<Box<Admission<S>>>),
    /// The inner service has been called.
    Calling(#[pin] F, Option<Box<Exchange>>),
    /// The inner service has been called on a path that is not guarded.
    Around(#[pin] F),
    /// The answer is being held.
    Holding(#[pin] Collect<R>, Option<Box<Held>>),
}

/// What waits for the request body.
struct Admission<S> {
    head: RequestHead,
    inner: S,
    config: Arc<Config>,
}

/// What waits for the answer's body.
struct Held {
    head: ResponseHead,
    exchange: Exchange,
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    pub(super) fn refused(answer: Answer<R>) -> Self {
        Self {
            state: State::Answered(Some(Box::new(answer))),
        }
    }

    pub(super) fn around(future: S::Future) -> Self {
        Self {
            state: State::Around(future),
        }
    }

    pub(super) fn calling(future: S::Future, exchange: Exchange) -> Self {
        Self {
            state: State::Calling(future, Some(Box::new(exchange))),
        }
    }

    pub(super) fn reading(
        collect: Collect<B>,
        head: RequestHead,
        inner: S,
        config: Arc<Config>,
    ) -> Self {
        let admission = Admission {
            head,
            inner,
            config,
        };
        Self {
            state: State::Reading(collect, Some(Box::new(admission))),
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Answer<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProject::Answered(answer) => match answer.take() {
                    Some(answer) => return Poll::Ready(Ok(*answer)),
                    None => return Poll::Pending,
                },
                StateProject::Reading(collect, admission) => {
                    let collected = ready!(collect.poll(context));
                    match admission.take() {
                        Some(admission) => admit(*admission, collected),
                        None => return Poll::Pending,
                    }
                }
                StateProject::Calling(future, exchange) => {
                    let answer = ready!(future.poll(context))?;
                    match exchange.take() {
                        Some(exchange) => receive(answer, *exchange),
                        None => return Poll::Pending,
                    }
                }
                StateProject::Around(future) => {
                    let answer = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(answer.map(ResponseBody::untouched)));
                }
                StateProject::Holding(collect, held) => {
                    let collected = ready!(collect.poll(context));
                    match held.take() {
                        Some(held) => State::Answered(Some(Box::new(answer::judge_held(
                            &held.exchange,
                            held.head,
                            collected,
                        )))),
                        None => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

/// Calls the inner service with a request body that may pass.
fn admit<S, B, R>(
    admission: Admission<S>,
    collected: Result<Collected, CollectError>,
) -> State<S, S::Future, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let Admission {
        mut head,
        mut inner,
        config,
    } = admission;
    let refused = |asked: &Asked, refusal| State::Answered(Some(Box::new(asked.refuse(refusal))));
    let unread = request::unread(&head);
    let collected = match collected {
        Ok(collected) => collected,
        Err(error) => return refused(&unread, &request::unreadable(&config, error)),
    };
    if let Err(refusal) = request::check_media_type(&head.headers) {
        return refused(&unread, &refusal);
    }
    match request::judge(&config, &head, unread, &collected.bytes) {
        Err(refused) => {
            let answer = answer::refuse_message(&refused, &config.endpoints, &head.uri);
            State::Answered(Some(Box::new(answer)))
        }
        Ok(exchange) => {
            request::prepare(&mut head, Some(collected.bytes.len()), &exchange.asked);
            let request = Request::from_parts(head, RequestBody::judged(collected.into_bytes()));
            State::Calling(inner.call(request), Some(Box::new(exchange)))
        }
    }
}

/// Decides how the answer of the inner service goes on.
fn receive<S, F, B, R: Body<Data = Bytes>>(
    answer: Response<R>,
    exchange: Exchange,
) -> State<S, F, B, R> {
    let (mut head, body) = answer.into_parts();
    request::follow_session(&exchange, &head);
    match answer::treatment(&head) {
        Treatment::Redirect => {
            let answer = answer::refuse_redirect(&exchange.asked, &head);
            State::Answered(Some(Box::new(answer)))
        }
        Treatment::Encoded if !body.is_end_stream() => {
            let answer = answer::refuse_encoded(&exchange.asked, head);
            State::Answered(Some(Box::new(answer)))
        }
        Treatment::Events => {
            answer::prepare_events(&mut head.headers);
            let body = ResponseBody::events(Events::new(exchange), body);
            State::Answered(Some(Box::new(Response::from_parts(head, body))))
        }
        Treatment::Hold | Treatment::Encoded => {
            let config = &exchange.config;
            let collect = Collect::new(body, config.max_response_size, &config.responses);
            State::Holding(collect, Some(Box::new(Held { head, exchange })))
        }
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

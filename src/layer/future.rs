mod answered;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::response::Parts as ResponseHead;
use http::{Request, Response, Uri};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use self::answered::{answer_held, hold, pass_on, receive};
use super::answer::{self, Heading};
use super::candidate::{Candidate, Undecided};
use super::collect::{Collect, CollectError, Collected};
use super::judged::{Called, Recorded, Refused};
use super::request;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::audit::{
    DecisionRecord, Ending, OpenDecisions, Receipt, Settlement, Settling, Unrecorded, note_lost,
};
use crate::engine::{self, Admitting, AwaitedAdmission, Ended, Pending};
use crate::mcp::headers::Mirror;
use crate::mcp::reply::Refusal;

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
    state: State<S, S::Future, B, R, S::Error>,
}

#[pin_project(project = StateProject)]
enum State<S, F, B, R, E> {
    /// There is an answer, a refusal or one of the inner service, or its error.
    Answered(Option<Result<Box<Answer<R>>, E>>),
    /// There is an answer, of which the records are being kept.
    Settling(Settling, Option<Result<Box<Answer<R>>, E>>),
    /// The request body is being read.
    Reading(#[pin] Collect<B>, Option<Box<Candidate<S>>>),
    /// The request is judged once the session store has answered.
    Asking(Pending, Option<Box<Unjudged<S>>>),
    /// The request was judged, and waits for what it needs to go on.
    Deciding(Box<AwaitedAdmission<Undecided<S>>>),
    /// The request may go on, once that is recorded.
    Recording(Settling, Option<Permitted<S>>),
    /// The inner service has been called.
    Calling(#[pin] F, Option<Box<Called>>),
    /// The session store is told what the answer did to the session.
    Following(Pending, Option<Box<(Response<R>, Box<Called>)>>),
    /// The inner service has been called on a path that is not guarded.
    Around(#[pin] F),
    /// The answer is being held.
    Holding(#[pin] Collect<R>, Option<Box<Held>>),
    /// The answer is held until the session store has answered.
    Remembering(Pending, Option<Box<(Held, Collected)>>),
}

/// A request that is judged when more is known.
struct Unjudged<S> {
    candidate: Box<Candidate<S>>,
    body: Option<Collected>,
}

/// A request that may go on, and where to.
struct Permitted<S> {
    candidate: Box<Candidate<S>>,
    body: Bytes,
    called: Box<Called>,
    /// Whether something runs by it.
    runs: bool,
}

/// What waits for the answer's body.
struct Held {
    head: ResponseHead,
    heading: Heading,
    called: Box<Called>,
}

/// What comes next.
enum Next<S, F, B, R, E> {
    /// Something that may have to be waited for.
    State(State<S, F, B, R, E>),
    /// The end: an answer, or the error of the inner service.
    Answer(Result<Answer<R>, E>),
}

/// The same around this service.
type NextOf<S, B, R> = Next<
    S,
    <S as Service<Request<RequestBody<B>>>>::Future,
    B,
    R,
    <S as Service<Request<RequestBody<B>>>>::Error,
>;

impl<S, F, B, R, E> From<Next<S, F, B, R, E>> for State<S, F, B, R, E> {
    fn from(next: Next<S, F, B, R, E>) -> Self {
        match next {
            Next::State(state) => state,
            Next::Answer(answer) => Self::Answered(Some(answer.map(Box::new))),
        }
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    pub(super) fn around(future: S::Future) -> Self {
        Self {
            state: State::Around(future),
        }
    }

    /// For a request that may not go on.
    pub(super) fn refused(candidate: Candidate<S>, refusal: Refusal) -> Self {
        Self {
            state: refused(Box::new(candidate), refusal).into(),
        }
    }

    /// For a request whose body does not count.
    pub(super) fn without_body(candidate: Candidate<S>) -> Self {
        Self {
            state: admit(Box::new(candidate), None).into(),
        }
    }

    pub(super) fn reading(collect: Collect<B>, candidate: Candidate<S>) -> Self {
        Self {
            state: State::Reading(collect, Some(Box::new(candidate))),
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
            match ready!(state.as_mut().poll_next(context)) {
                Next::State(next) => state.set(next),
                Next::Answer(answer) => {
                    state.set(State::Answered(None));
                    return Poll::Ready(answer);
                }
            }
        }
    }
}

impl<S, B, R> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    /// Waits for what this waits for, and tells what comes of it.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<NextOf<S, B, R>> {
        Poll::Ready(match self.project() {
            StateProject::Answered(answer) => unbox(ready!(taken(answer))),
            StateProject::Settling(settling, answer) => {
                // What was decided and done is not changed by a record that is lost.
                note_lost(ready!(Pin::new(settling).poll(context)));
                unbox(ready!(taken(answer)))
            }
            StateProject::Reading(collect, candidate) => {
                let collected = ready!(collect.poll(context));
                collected_of(ready!(taken(candidate)), collected)
            }
            StateProject::Asking(pending, unjudged) => {
                ready!(Pin::new(pending).poll(context));
                let unjudged = ready!(taken(unjudged));
                admit(unjudged.candidate, unjudged.body)
            }
            StateProject::Deciding(awaited) => match ready!(awaited.poll(context)) {
                Ended::Settled(undecided) => proceed(undecided),
                Ended::Again(undecided, patience) => {
                    let (candidate, body) = undecided.again(patience);
                    admit(candidate, body)
                }
            },
            StateProject::Recording(settling, permitted) => {
                let recorded = ready!(Pin::new(settling).poll(context));
                forward(ready!(taken(permitted)), recorded)
            }
            StateProject::Calling(future, called) => {
                let answer = ready!(future.poll(context));
                let called = ready!(taken(called));
                match answer {
                    Ok(answer) => receive(answer, called),
                    Err(error) => settle(called.open.end(Ending::Failed), Err(error)),
                }
            }
            StateProject::Following(pending, called) => {
                ready!(Pin::new(pending).poll(context));
                let (answer, called) = *ready!(taken(called));
                pass_on(answer, called)
            }
            StateProject::Around(future) => {
                let answer = ready!(future.poll(context));
                Next::Answer(answer.map(|answer| answer.map(ResponseBody::untouched)))
            }
            StateProject::Holding(collect, held) => {
                let collected = ready!(collect.poll(context));
                hold(*ready!(taken(held)), collected)
            }
            StateProject::Remembering(pending, held) => {
                ready!(Pin::new(pending).poll(context));
                let (held, collected) = *ready!(taken(held));
                answer_held(held, Ok(collected))
            }
        })
    }
}

/// What waits, once: who asks again after that never hears anything.
fn taken<T>(waits: &mut Option<T>) -> Poll<T> {
    waits.take().map_or(Poll::Pending, Poll::Ready)
}

fn unbox<S, F, B, R, E>(answer: Result<Box<Answer<R>>, E>) -> Next<S, F, B, R, E> {
    Next::Answer(answer.map(|answer| *answer))
}

/// Judges a request whose body was read, if it could be.
fn collected_of<S, B, R>(
    candidate: Box<Candidate<S>>,
    collected: Result<Collected, CollectError>,
) -> NextOf<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let collected = collected
        .map_err(|error| request::unreadable(&candidate.config, error))
        .and_then(|collected| {
            request::check_media_type(&candidate.head.headers)?;
            Ok(collected)
        });
    match collected {
        Ok(collected) => admit(candidate, Some(collected)),
        Err(refusal) => refused(candidate, refusal),
    }
}

/// Refuses a request without reading a message.
fn refused<S, B, R>(candidate: Box<Candidate<S>>, refusal: Refusal) -> NextOf<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let mirror = Mirror::of(&candidate.head.headers);
    let unread = request::unread(&candidate.head, &mirror);
    let judged = candidate.incoming(&mirror).refuse(unread, refusal);
    settled(Undecided::new(judged, candidate, None))
}

/// Judges a request, once everything is known of it that has to be.
fn admit<S, B, R>(candidate: Box<Candidate<S>>, body: Option<Collected>) -> NextOf<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let mirror = Mirror::of(&candidate.head.headers);
    let unread = request::unread(&candidate.head, &mirror);
    let incoming = candidate.incoming(&mirror);
    let judged = match &body {
        Some(body) => incoming.judge(unread, &body.bytes),
        None => incoming.judge_head(unread),
    };
    match candidate.sessions.pending() {
        Some(pending) => {
            let unjudged = Box::new(Unjudged { candidate, body });
            Next::State(State::Asking(pending, Some(unjudged)))
        }
        None => settled(Undecided::new(judged, candidate, body)),
    }
}

/// Asks whatever has to be asked of a request that was judged.
fn settled<S, B, R>(undecided: Undecided<S>) -> NextOf<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    match engine::admit(undecided) {
        Admitting::Known(undecided) => proceed(undecided),
        Admitting::Awaited(awaited) => Next::State(State::Deciding(awaited)),
    }
}

/// Lets a request go on that may, once that is recorded, and answers one that
/// may not.
fn proceed<S, B, R>(undecided: Undecided<S>) -> NextOf<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let Undecided {
        mut judged,
        mut candidate,
        body,
    } = undecided;
    let head = &mut candidate.head;
    let body = body.map(|body| match judged.rewritten(&body.bytes) {
        Some(bytes) => {
            request::forget_digests(&mut head.headers);
            body.replace(bytes)
        }
        None => body,
    });
    let Recorded {
        result,
        receipt,
        runs,
    } = judged.record();
    let called = match result {
        Ok(called) => called,
        Err(refused) => return answer_refused(refused, receipt, &head.uri),
    };
    let length = body.as_ref().map(|body| body.bytes.len());
    // Where there is no message, a body would go on unread.
    let body = body.map(Collected::into_bytes).unwrap_or_default();
    request::prepare(head, length, &called.exchange, called.open.record());
    let permitted = Permitted {
        candidate,
        body,
        called,
        runs,
    };
    match receipt.settle() {
        Settlement::Known(recorded) => forward(permitted, recorded),
        Settlement::Awaited(settling) => Next::State(State::Recording(settling, Some(permitted))),
    }
}

/// Answers a request that may not go on.
fn answer_refused<S, F, B, R, E>(
    (refused, open): (Box<Refused>, OpenDecisions),
    receipt: Receipt,
    target: &Uri,
) -> Next<S, F, B, R, E> {
    let ending = match refused.refusal {
        Refusal::Taken => Ending::Answered,
        _ => Ending::Refused,
    };
    let mut answer = answer::refuse(&refused, target);
    note(&mut answer, open.record());
    let receipt = receipt.and(open.end(ending));
    settle(receipt, Ok(answer))
}

/// Calls the inner service, unless something runs by it that is not recorded.
fn forward<S, B, R>(permitted: Permitted<S>, recorded: Result<(), Unrecorded>) -> NextOf<S, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let Permitted {
        candidate,
        body,
        mut called,
        runs,
    } = permitted;
    if runs && recorded.is_err() {
        return answer_unrecorded(*called, &candidate.head.uri);
    }
    if let Some(charged) = &mut called.exchange.charged {
        charged.sent();
    }
    let Candidate {
        head, mut inner, ..
    } = *candidate;
    let request = Request::from_parts(head, RequestBody::judged(body));
    Next::State(State::Calling(inner.call(request), Some(called)))
}

/// Answers a request that may not go on because it could not be recorded.
#[cold]
fn answer_unrecorded<S, F, B, R, E>(called: Called, target: &Uri) -> Next<S, F, B, R, E> {
    let Called { exchange, open } = called;
    let decision = open.take_back();
    let refused = Refused {
        refusal: engine::unrecorded(),
        caller: Some(exchange.judge.caller().clone()),
        config: exchange.config,
        asked: exchange.asked,
        is_message: true,
    };
    let mut answer = answer::refuse(&refused, target);
    note(&mut answer, &decision);
    Next::Answer(Ok(answer))
}

/// Records how it ended, and answers.
fn conclude<S, F, B, R, E>(
    open: OpenDecisions,
    ending: Ending,
    mut answer: Answer<R>,
) -> Next<S, F, B, R, E> {
    note(&mut answer, open.record());
    settle(open.end(ending), Ok(answer))
}

/// Leaves the decision where a layer above finds it. A refusal by another policy
/// layer behind this one stays there.
fn note<R>(answer: &mut Answer<R>, decision: &DecisionRecord) {
    let extensions = answer.extensions_mut();
    let refused_inside = extensions
        .get::<DecisionRecord>()
        .is_some_and(|decision| !decision.is_allowed());
    if !refused_inside {
        extensions.insert(decision.clone());
    }
}

/// Answers once the records are kept: an answer that was seen is one that was
/// recorded, unless that takes too long, which is told then.
fn settle<S, F, B, R, E>(receipt: Receipt, answer: Result<Answer<R>, E>) -> Next<S, F, B, R, E> {
    match receipt.settle() {
        Settlement::Known(recorded) => {
            note_lost(recorded);
            Next::Answer(answer)
        }
        Settlement::Awaited(settling) => {
            Next::State(State::Settling(settling, Some(answer.map(Box::new))))
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

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts as RequestHead;
use http::response::Parts as ResponseHead;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::answer::{self, Treatment};
use super::collect::{Collect, CollectError, Collected};
use super::config::Config;
use super::events::Events;
use super::exchange::Exchange;
use super::incoming::{Incoming, Judged, Recorded, Refused};
use super::not_sent::{MayStillRun, NotSent};
use super::request;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use super::tell;
use crate::approval::Used;
use crate::audit::{
    DecisionRecord, Ending, OpenDecisions, Receipt, Settlement, Settling, Unrecorded,
};
use crate::engine::{
    self, Approving, Arrival, AwaitedApproval, AwaitedCharge, Charging, Patience, Pending,
    Sessions, Using,
};
use crate::mcp::reply::Refusal;
use crate::store::StoreError;
use crate::waiting::Waiting;

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
    Reading(#[pin] Collect<B>, Option<Box<Admission<S>>>),
    /// The request is judged once the session store has answered.
    Asking(Pending, Option<Box<(Admission<S>, Option<Collected>)>>),
    /// The request has to be approved, if it could be charged.
    Checking(Box<AwaitedCharge>, Option<Box<Undecided<S>>>),
    /// The request may go on once somebody has approved it.
    Approving(Box<AwaitedApproval>, Option<Box<Undecided<S>>>),
    /// The request may go on, if its approval is not used yet.
    Using(Waiting<Used, StoreError>, Option<Box<Judgeable<S>>>),
    /// The request may go on, if it can be charged.
    Charging(Box<AwaitedCharge>, Option<Box<Judgeable<S>>>),
    /// The request may go on, once that is recorded.
    Recording(Settling, Option<Box<Permitted<S, B>>>),
    /// The inner service has been called.
    Calling(#[pin] F, Option<Box<Called>>),
    /// The session store is told what the answer did to the session.
    Following(Pending, Option<Box<(Response<R>, Called)>>),
    /// The inner service has been called on a path that is not guarded.
    Around(#[pin] F),
    /// The answer is being held.
    Holding(#[pin] Collect<R>, Option<Box<Held>>),
    /// The answer is held until the session store has answered.
    Remembering(Pending, Option<Box<(Held, Collected)>>),
}

/// A request that is still to be judged.
pub(super) struct Admission<S> {
    pub(super) head: RequestHead,
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
    pub(super) arrival: Arrival,
    pub(super) sessions: Sessions,
    /// How much longer it is waited for an approval; `None` until that is asked for.
    pub(super) patience: Option<Patience>,
}

/// A request that was judged and waits for an approval, after which it is judged
/// again.
struct Undecided<S> {
    judged: Judged,
    admission: Admission<S>,
    body: Option<Collected>,
}

impl<S> Admission<S> {
    fn incoming(&self) -> Incoming<'_> {
        Incoming {
            config: &self.config,
            head: &self.head,
            arrival: self.arrival,
            sessions: &self.sessions,
        }
    }
}

/// A request that was judged and is being charged.
struct Judgeable<S> {
    judged: Judged,
    head: RequestHead,
    body: Option<Collected>,
    inner: S,
}

/// A request that may go on, and where to.
struct Permitted<S, B> {
    request: Request<RequestBody<B>>,
    inner: S,
    called: Called,
    /// Whether something runs by it.
    runs: bool,
}

/// What waits for the answer.
struct Called {
    exchange: Exchange,
    open: OpenDecisions,
}

/// What waits for the answer's body.
struct Held {
    head: ResponseHead,
    called: Called,
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
    pub(super) fn refused(admission: Admission<S>, refusal: Refusal) -> Self {
        let unread = request::unread(&admission.head);
        let judged = admission.incoming().refuse(unread, refusal);
        Self {
            state: charge(judged, admission.head, None, admission.inner),
        }
    }

    /// For a request whose body does not count.
    pub(super) fn without_body(admission: Admission<S>) -> Self {
        Self {
            state: admit(admission, None),
        }
    }

    pub(super) fn reading(collect: Collect<B>, admission: Admission<S>) -> Self {
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
                    Some(answer) => return Poll::Ready(answer.map(|answer| *answer)),
                    None => return Poll::Pending,
                },
                StateProject::Settling(settling, answer) => {
                    // What was decided and done is not changed by a record that
                    // is lost.
                    let _ = ready!(Pin::new(settling).poll(context));
                    State::Answered(answer.take())
                }
                StateProject::Reading(collect, admission) => {
                    let collected = ready!(collect.poll(context));
                    match admission.take() {
                        Some(admission) => collected_of(*admission, collected),
                        None => return Poll::Pending,
                    }
                }
                StateProject::Asking(pending, admission) => {
                    ready!(Pin::new(pending).poll(context));
                    match admission.take() {
                        Some(admission) => {
                            let (admission, body) = *admission;
                            admit(admission, body)
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProject::Following(pending, called) => {
                    ready!(Pin::new(pending).poll(context));
                    match called.take() {
                        Some(called) => {
                            let (answer, called) = *called;
                            pass_on(answer, called)
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProject::Remembering(pending, held) => {
                    ready!(Pin::new(pending).poll(context));
                    match held.take() {
                        Some(held) => {
                            let (held, collected) = *held;
                            answer_held(held, Ok(collected))
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProject::Checking(charge, undecided) => {
                    let bill = ready!(Pin::new(charge).poll(context));
                    match undecided.take() {
                        Some(undecided) => {
                            let Undecided {
                                mut judged,
                                admission,
                                body,
                            } = *undecided;
                            judged.settle(bill);
                            approve(judged, admission, body)
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProject::Approving(approval, undecided) => {
                    let ended = ready!(Pin::new(approval).poll(context));
                    match undecided.take() {
                        Some(undecided) => approved(ended, *undecided),
                        None => return Poll::Pending,
                    }
                }
                StateProject::Using(using, judged) => {
                    let used = ready!(Pin::new(using).poll(context));
                    match judged.take() {
                        Some(judged) => {
                            let Judgeable {
                                mut judged,
                                head,
                                body,
                                inner,
                            } = *judged;
                            judged.settle_use(&used);
                            proceed(judged, head, body, inner)
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProject::Charging(charge, judged) => {
                    let bill = ready!(Pin::new(charge).poll(context));
                    match judged.take() {
                        Some(judged) => {
                            let Judgeable {
                                mut judged,
                                head,
                                body,
                                inner,
                            } = *judged;
                            judged.settle(bill);
                            use_up(judged, head, body, inner)
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProject::Recording(settling, permitted) => {
                    let recorded = ready!(Pin::new(settling).poll(context));
                    match permitted.take() {
                        Some(permitted) => forward(*permitted, recorded),
                        None => return Poll::Pending,
                    }
                }
                StateProject::Calling(future, called) => {
                    let answer = ready!(future.poll(context));
                    match (called.take(), answer) {
                        (Some(called), Ok(answer)) => receive(answer, *called),
                        (Some(called), Err(error)) => {
                            settle(called.open.end(Ending::Failed), Err(error))
                        }
                        (None, _) => return Poll::Pending,
                    }
                }
                StateProject::Around(future) => {
                    let answer = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(answer.map(ResponseBody::untouched)));
                }
                StateProject::Holding(collect, held) => {
                    let collected = ready!(collect.poll(context));
                    match held.take() {
                        Some(held) => hold(*held, collected),
                        None => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

/// Judges a request whose body was read, if it could be.
fn collected_of<S, B, R>(
    admission: Admission<S>,
    collected: Result<Collected, CollectError>,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let collected = collected
        .map_err(|error| request::unreadable(&admission.config, error))
        .and_then(|collected| {
            request::check_media_type(&admission.head.headers)?;
            Ok(collected)
        });
    match collected {
        Ok(collected) => admit(admission, Some(collected)),
        Err(refusal) => ResponseFuture::refused(admission, refusal).state,
    }
}

/// Judges a request, once everything is known of it that has to be.
fn admit<S, B, R>(
    admission: Admission<S>,
    body: Option<Collected>,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let unread = request::unread(&admission.head);
    let incoming = admission.incoming();
    let judged = match &body {
        Some(body) => incoming.judge(unread, &body.bytes),
        None => incoming.judge_head(unread),
    };
    match admission.sessions.pending() {
        Some(pending) => State::Asking(pending, Some(Box::new((admission, body)))),
        None => check(judged, admission, body),
    }
}

/// Asks whether a request that has to be approved could be charged.
fn check<S, B, R>(
    mut judged: Judged,
    admission: Admission<S>,
    body: Option<Collected>,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    match judged.could_charge() {
        Some(Charging::Known(bill)) => judged.settle(bill),
        Some(Charging::Awaited(charge)) => {
            let undecided = Undecided {
                judged,
                admission,
                body,
            };
            return State::Checking(charge, Some(Box::new(undecided)));
        }
        None => {}
    }
    approve(judged, admission, body)
}

/// Asks for the approval of a request that needs one.
fn approve<S, B, R>(
    mut judged: Judged,
    mut admission: Admission<S>,
    body: Option<Collected>,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let patience = admission.patience.take();
    let length = body.as_ref().map_or(0, |body| body.bytes.len());
    match judged.approve(patience, length) {
        Some(Approving::Known(approved)) => judged.settle_approval(approved),
        Some(Approving::Awaited(approval)) => {
            let undecided = Undecided {
                judged,
                admission,
                body,
            };
            return State::Approving(approval, Some(Box::new(undecided)));
        }
        None => {}
    }
    charge(judged, admission.head, body, admission.inner)
}

/// Goes on with a request that was held: what was decided by the policy of that
/// moment may be decided otherwise by now.
fn approved<S, B, R>(
    ended: engine::Held,
    undecided: Undecided<S>,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let Undecided {
        mut judged,
        mut admission,
        body,
    } = undecided;
    match ended {
        engine::Held::Settled(approved) => {
            judged.settle_approval(approved);
            charge(judged, admission.head, body, admission.inner)
        }
        engine::Held::Decided(patience) => {
            // It is not under way twice.
            drop(judged);
            admission.sessions.forget();
            admission.patience = Some(patience);
            admit(admission, body)
        }
    }
}

/// Charges a request that may go on.
fn charge<S, B, R>(
    mut judged: Judged,
    head: RequestHead,
    body: Option<Collected>,
    inner: S,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    match judged.charge() {
        Some(Charging::Known(bill)) => judged.settle(bill),
        Some(Charging::Awaited(charge)) => {
            let judged = Judgeable {
                judged,
                head,
                body,
                inner,
            };
            return State::Charging(charge, Some(Box::new(judged)));
        }
        None => {}
    }
    use_up(judged, head, body, inner)
}

/// Uses up the approval of a request that was approved and charged.
fn use_up<S, B, R>(
    mut judged: Judged,
    head: RequestHead,
    body: Option<Collected>,
    inner: S,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    match judged.use_up() {
        Some(Using::Known(used)) => judged.settle_use(&used),
        Some(Using::Awaited(using)) => {
            let judged = Judgeable {
                judged,
                head,
                body,
                inner,
            };
            return State::Using(using, Some(Box::new(judged)));
        }
        None => {}
    }
    proceed(judged, head, body, inner)
}

/// Lets a request go on that may, once that is recorded, and answers one that
/// may not.
fn proceed<S, B, R>(
    judged: Judged,
    mut head: RequestHead,
    body: Option<Collected>,
    inner: S,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let Recorded {
        result,
        open,
        receipt,
        runs,
    } = judged.record();
    let exchange = match result {
        Ok(exchange) => exchange,
        Err(refused) => {
            let mut answer = answer::refuse(&refused, &head.uri);
            note(&mut answer, open.record());
            let receipt = receipt.and(open.end(Ending::Refused));
            return settle(receipt, Ok(Box::new(answer)));
        }
    };
    let length = body.as_ref().map(|body| body.bytes.len());
    request::prepare(&mut head, length, &exchange, open.record());
    let body = match body {
        Some(body) => RequestBody::judged(body.into_bytes()),
        // A body would go on unread.
        None => RequestBody::empty(),
    };
    let permitted = Permitted {
        request: Request::from_parts(head, body),
        inner,
        called: Called { exchange, open },
        runs,
    };
    match receipt.settle() {
        Settlement::Known(recorded) => forward(permitted, recorded),
        Settlement::Awaited(settling) => State::Recording(settling, Some(Box::new(permitted))),
    }
}

/// Calls the inner service, unless something runs by it that is not recorded.
fn forward<S, B, R>(
    permitted: Permitted<S, B>,
    recorded: Result<(), Unrecorded>,
) -> State<S, S::Future, B, R, S::Error>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
{
    let Permitted {
        request,
        mut inner,
        mut called,
        runs,
    } = permitted;
    if runs && recorded.is_err() {
        let Called { exchange, open } = called;
        let decision = open.take_back();
        let refused = Refused {
            refusal: engine::unrecorded(),
            caller: Some(exchange.judge.caller().clone()),
            config: exchange.config,
            asked: exchange.asked,
            is_message: true,
        };
        let mut answer = answer::refuse(&refused, request.uri());
        note(&mut answer, &decision);
        return State::Answered(Some(Ok(Box::new(answer))));
    }
    if let Some(charged) = &mut called.exchange.charged {
        charged.sent();
    }
    State::Calling(inner.call(request), Some(Box::new(called)))
}

/// Follows what the answer of the inner service does to the session.
fn receive<S, F, B, R: Body<Data = Bytes>, E>(
    answer: Response<R>,
    mut called: Called,
) -> State<S, F, B, R, E> {
    let (head, body) = answer.into_parts();
    request::follow_session(&called.exchange, &head);
    tell::follow_session(&mut called.exchange, &head);
    if head.extensions.get::<NotSent>().is_some() {
        called.exchange.was_not_sent();
    } else if may_still_run(&head) {
        called.exchange.has_broken_off();
    }
    let pending = called.exchange.judge.sessions().pending();
    let answer = Response::from_parts(head, body);
    match pending {
        Some(pending) => State::Following(pending, Some(Box::new((answer, called)))),
        None => pass_on(answer, called),
    }
}

/// Whether the server may be at work on a request although there is an answer: one of
/// something between.
fn may_still_run(head: &ResponseHead) -> bool {
    let is_gateways = matches!(
        head.status,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
    );
    is_gateways || head.extensions.get::<MayStillRun>().is_some()
}

/// Decides how the answer of the inner service goes on.
fn pass_on<S, F, B, R: Body<Data = Bytes>, E>(
    answer: Response<R>,
    mut called: Called,
) -> State<S, F, B, R, E> {
    let (mut head, body) = answer.into_parts();
    called.open.answered_with(head.status.as_u16());
    let asked = &called.exchange.asked;
    match answer::treatment(&head) {
        Treatment::Redirect => {
            let answer = answer::refuse_redirect(asked, &head);
            conclude(called.open, Ending::Withheld, answer)
        }
        Treatment::Encoded if !body.is_end_stream() => {
            let answer = answer::refuse_encoded(asked, head);
            conclude(called.open, Ending::Withheld, answer)
        }
        Treatment::Events => {
            answer::prepare_events(&mut head.headers);
            let body = ResponseBody::events(Events::new(called.exchange), body);
            let answer = Response::from_parts(head, body);
            conclude(called.open, Ending::Streaming, answer)
        }
        Treatment::Hold | Treatment::Encoded => {
            let config = &called.exchange.config;
            let collect = Collect::new(body, config.max_response_size, &config.responses);
            State::Holding(collect, Some(Box::new(Held { head, called })))
        }
    }
}

/// Judges an answer that was held whole, once everything is known of it that has
/// to be.
fn hold<S, F, B, R, E>(
    mut held: Held,
    collected: Result<Collected, CollectError>,
) -> State<S, F, B, R, E> {
    let exchange = &mut held.called.exchange;
    let collected = match collected {
        Ok(collected) => collected,
        Err(error) => {
            exchange.has_broken_off();
            return answer_held(held, Err(error));
        }
    };
    exchange.has_ended(held.head.status, !collected.bytes.is_empty());
    match exchange.ask_about(&collected.bytes) {
        Some(pending) => State::Remembering(pending, Some(Box::new((held, collected)))),
        None => answer_held(held, Ok(collected)),
    }
}

fn answer_held<S, F, B, R, E>(
    held: Held,
    collected: Result<Collected, CollectError>,
) -> State<S, F, B, R, E> {
    let Held { head, called } = held;
    let (answer, ending) = answer::judge_held(&called.exchange, head, collected);
    conclude(called.open, ending, answer)
}

/// Records how it ended, and answers.
fn conclude<S, F, B, R, E>(
    open: OpenDecisions,
    ending: Ending,
    mut answer: Answer<R>,
) -> State<S, F, B, R, E> {
    note(&mut answer, open.record());
    settle(open.end(ending), Ok(Box::new(answer)))
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
/// recorded.
fn settle<S, F, B, R, E>(
    receipt: Receipt,
    answer: Result<Box<Answer<R>>, E>,
) -> State<S, F, B, R, E> {
    match receipt.settle() {
        Settlement::Known(_) => State::Answered(Some(answer)),
        Settlement::Awaited(settling) => State::Settling(settling, Some(answer)),
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

//! What becomes of a request when the inner service has answered.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;

use super::{Called, Held, Next, State, conclude};
use crate::audit::Ending;
use crate::layer::answer::{self, Heading, Treatment};
use crate::layer::collect::{Collect, CollectError, Collected};
use crate::layer::events::Events;
use crate::layer::not_sent::{MayStillRun, NotSent};
use crate::layer::response_body::ResponseBody;
use crate::layer::{request, tell};

/// Follows what the answer of the inner service does to the session.
pub(super) fn receive<S, F, B, R: Body<Data = Bytes>, E>(
    answer: Response<R>,
    mut called: Box<Called>,
) -> Next<S, F, B, R, E> {
    request::follow_session(&called.exchange, &answer);
    tell::follow_session(&mut called.exchange, &answer);
    if answer.extensions().get::<NotSent>().is_some() {
        called.exchange.was_not_sent();
    } else if may_still_run(&answer) {
        called.exchange.has_broken_off();
    }
    match called.exchange.judge.sessions().pending() {
        Some(pending) => Next::State(State::Following(pending, Some(Box::new((answer, called))))),
        None => pass_on(answer, called),
    }
}

/// Whether the server may be at work on a request although there is an answer: one of
/// something between.
fn may_still_run<R>(answer: &Response<R>) -> bool {
    let is_gateways = matches!(
        answer.status(),
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
    );
    is_gateways || answer.extensions().get::<MayStillRun>().is_some()
}

/// Decides how the answer of the inner service goes on.
pub(super) fn pass_on<S, F, B, R: Body<Data = Bytes>, E>(
    answer: Response<R>,
    mut called: Box<Called>,
) -> Next<S, F, B, R, E> {
    let (mut head, body) = answer.into_parts();
    called.open.answered_with(head.status.as_u16());
    let asked = &called.exchange.asked;
    let heading = Heading::of(&head.headers);
    match answer::treatment(&head, heading) {
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
            Next::State(State::Holding(
                collect,
                Some(Box::new(Held {
                    head,
                    heading,
                    called,
                })),
            ))
        }
    }
}

/// Judges an answer that was held whole, once everything is known of it that has
/// to be.
pub(super) fn hold<S, F, B, R, E>(
    mut held: Held,
    collected: Result<Collected, CollectError>,
) -> Next<S, F, B, R, E> {
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
        Some(pending) => Next::State(State::Remembering(
            pending,
            Some(Box::new((held, collected))),
        )),
        None => answer_held(held, Ok(collected)),
    }
}

pub(super) fn answer_held<S, F, B, R, E>(
    held: Held,
    collected: Result<Collected, CollectError>,
) -> Next<S, F, B, R, E> {
    let Held {
        head,
        heading,
        called,
    } = held;
    let (answer, ending) = answer::judge_held(&called.exchange, (head, heading), collected);
    conclude(called.open, ending, answer)
}

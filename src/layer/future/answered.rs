//! What becomes of a request when the inner service has answered.

use bytes::Bytes;
use http::response::Parts as ResponseHead;
use http::{Response, StatusCode};
use http_body::Body;

use super::{Called, Held, Next, State, conclude};
use crate::audit::Ending;
use crate::layer::answer::{self, Treatment};
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
        Some(pending) => Next::State(State::Following(pending, Some(Box::new((answer, called))))),
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
pub(super) fn pass_on<S, F, B, R: Body<Data = Bytes>, E>(
    answer: Response<R>,
    mut called: Box<Called>,
) -> Next<S, F, B, R, E> {
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
            Next::State(State::Holding(
                collect,
                Some(Box::new(Held { head, called })),
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
    let Held { head, called } = held;
    let (answer, ending) = answer::judge_held(&called.exchange, head, collected);
    conclude(called.open, ending, answer)
}

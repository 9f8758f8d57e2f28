use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::answer::Asked;
use super::budget::Hold;
use super::config::Config;
use super::endpoints::Announcement;
use crate::mcp::list::{self, Unreadable};
use crate::mcp::recover;
use crate::mcp::reply::{Refusal, reply};
use crate::mcp::sse::{self, Event, Splitter, Verdict};

/// Frames that are read before others get a turn.
const FRAMES_PER_POLL: u32 = 64;

/// A stream of server-sent events on its way to the client.
#[derive(Debug)]
pub(super) struct Events {
    splitter: Splitter,
    /// What may go on and has not been taken yet.
    out: VecDeque<Bytes>,
    hold: Hold,
    config: Arc<Config>,
    asked: Asked,
    /// Where the client was told to POST to, if it was.
    announcement: Option<Announcement>,
}

impl Events {
    pub(super) fn new(config: Arc<Config>, asked: Asked) -> Self {
        Self {
            splitter: Splitter::new(config.max_response_size),
            out: VecDeque::new(),
            hold: config.responses.hold(),
            config,
            asked,
            announcement: None,
        }
    }

    /// The next bytes that may go on. The inner body is dropped as soon as
    /// nothing more is wanted of it, which tells the server to stop.
    pub(super) fn poll<R: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut Option<R>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        for _ in 0..FRAMES_PER_POLL {
            if let Some(bytes) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(inner) = body.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let refusal = self
                .announcement
                .as_ref()
                .map(|stream| stream.poll(context));
            if let Some(Poll::Ready(event)) = refusal {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            match ready!(inner.poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers have no place in this transport.
                    if let Ok(chunk) = frame.into_data() {
                        if self.take(chunk).is_err() {
                            self.give_up();
                            body.set(None);
                        }
                    }
                }
                Some(Err(error)) => {
                    body.set(None);
                    return Poll::Ready(Some(Err(error)));
                }
                // An event without its end is none.
                None => body.set(None),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), ()> {
        let (config, asked) = (&self.config, &self.asked);
        let announcement = &mut self.announcement;
        let mut judge = |event: Event<'_>| {
            if event.name == b"endpoint" && asked.opens_stream {
                *announcement = config.endpoints.announce(event.data);
            }
            judge(config, asked, event.data)
        };
        self.splitter
            .push(chunk, &mut judge, &mut self.out)
            .map_err(drop)?;
        self.hold.resize(self.splitter.held()).map_err(drop)
    }

    /// The stream ends here: the client is told why, if it waits for an answer.
    fn give_up(&mut self) {
        if self.asked.id().is_some() {
            let refusal = Refusal::BadAnswer {
                text: "The call was made, but an event of its answer is too large to be checked. \
                       Do not repeat the call blindly: it may have had its effect."
                    .to_owned(),
            };
            let reply = reply(&refusal, self.asked.in_words());
            self.out.push_back(sse::event(&reply.body));
        }
    }
}

/// Judges the data of one event.
fn judge(config: &Config, asked: &Asked, data: &[u8]) -> Verdict {
    let unreadable = match list::filter(data, &config.engine) {
        Ok(None) => return Verdict::Forward,
        Ok(Some(filtered)) => return Verdict::Rewrite(filtered),
        Err(unreadable) => unreadable,
    };
    // Without an object there is no list in any reading: the address that
    // begins a 2024-11-05 stream, for one.
    if matches!(unreadable, Unreadable::Json(_)) && !data.contains(&b'{') {
        return Verdict::Forward;
    }
    let refusal = Refusal::BadAnswer {
        text: super::answer::unreadable_text(&unreadable),
    };
    let mut words = asked.in_words();
    match recover::answer_id(data) {
        Some(id) => words.id = Some(id),
        // A broken request or notification of the server's answers nothing.
        None if recover::request_id(data).is_some() => return Verdict::Drop,
        None => {}
    }
    match words.id {
        Some(_) => Verdict::Rewrite(reply(&refusal, words).body),
        None => Verdict::Drop,
    }
}

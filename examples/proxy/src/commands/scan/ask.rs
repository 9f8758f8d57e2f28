//! Asking the servers, some at a time, with a line that says how far it is.

use std::{
    io::{self, IsTerminal, Write},
    process::Stdio,
    sync::Mutex,
};

use futures_util::{StreamExt as _, stream};

use super::{
    sources::{Source, Way},
    table,
};
use crate::{
    client::{self, Offer},
    lock::lock,
    names::shown,
};

/// So many servers are asked at once: each may be a program that is being downloaded.
const AT_ONCE: usize = 4;

/// What a server answered, or why there is nothing.
pub(super) struct Answered {
    pub(super) name: String,
    pub(super) offer: Result<Offer, String>,
}

/// What all of them answer, in their order.
pub(super) async fn all(sources: Vec<Source>) -> Vec<Answered> {
    let progress = Progress::new(&sources);
    let asked = sources.into_iter().enumerate();
    let asked = asked.map(async |(place, source)| {
        progress.begins(&source.name);
        let name = source.name.clone();
        let offer = one(source).await;
        progress.ends(&name);
        (place, Answered { name, offer })
    });
    // Not in their order, in which a slow one would hold up those behind it.
    let answered = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut answered: Vec<_> = answered.collect().await;
    answered.sort_by_key(|(place, _)| *place);
    answered.into_iter().map(|(_, answer)| answer).collect()
}

async fn one(source: Source) -> Result<Offer, String> {
    match source.way {
        Way::Http(target) => client::everything_of_upstream(*target).await,
        Way::Stdio(start) => {
            let stderr = if start.is_heard {
                Stdio::inherit()
            } else {
                Stdio::null()
            };
            let offer = client::everything_of_command(&start.program, stderr).await;
            offer.map_err(|reason| start.told(&reason))
        }
        Way::None(reason) => Err(reason),
    }
}

/// A line on stderr that is written over until it is gone. Only a person at a terminal
/// sees it, and only while several servers are asked.
struct Progress {
    all: usize,
    state: Option<Mutex<State>>,
}

#[derive(Default)]
struct State {
    done: usize,
    waiting: Vec<String>,
}

impl Progress {
    fn new(sources: &[Source]) -> Self {
        let is_seen = sources.len() > 1 && io::stderr().is_terminal();
        Self {
            all: sources.len(),
            state: is_seen.then(Mutex::default),
        }
    }

    fn begins(&self, name: &str) {
        self.change(|state| state.waiting.push(shown(name)));
    }

    fn ends(&self, name: &str) {
        let name = shown(name);
        self.change(|state| {
            state.done = state.done.saturating_add(1);
            state.waiting.retain(|waiting| *waiting != name);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let Some(state) = &self.state else {
            return;
        };
        let mut state = lock(state);
        change(&mut state);
        let line = line(self.all, &state);
        let line = table::cut(&line, table::width_of_stderr().saturating_sub(1));
        let _ = write!(io::stderr(), "\r\u{1b}[K{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.state.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

fn line(all: usize, state: &State) -> String {
    let done = state.done;
    let waiting = state.waiting.join(", ");
    format!("{done} of {all} servers asked, waiting for {waiting}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let progress = Progress {
            all: 3,
            state: None,
        };
        progress.begins("a");
        let state = State {
            done: 1,
            waiting: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(
            line(progress.all, &state),
            "1 of 3 servers asked, waiting for a, b"
        );
    }
}

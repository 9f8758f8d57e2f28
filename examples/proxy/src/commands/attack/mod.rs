//! The `attack` command: sends requests that no client should send at a gateway, and
//! shows which of them reached the server behind it.
//!
//! [`cases`] are the requests, [`connection`] sends them as bytes on a socket,
//! [`gateway`] is who they are sent to, and [`recorder`] the server behind it, which
//! runs in this process, so that it is known what it executed. [`report`] shows it.
//! How a server is talked into executing something is in [`careless`] and
//! [`loose_json`], which the tests of the library share.

mod careless;
mod cases;
mod connection;
mod gateway;
mod loose_json;
mod recorder;
mod report;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use self::{
    cases::{Case, Cases, Era},
    connection::{Answer, Connection, PATIENCE, Summary},
    gateway::Gateway,
    recorder::Recorder,
    report::{Tried, Verdict},
};
use super::show::{print, print_json};
use crate::{cli::AttackArgs, failure::Failure, listening};

/// How long to wait between two looks at a gateway that is not there yet.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// How long a request that should be refused may be left unanswered, at the least.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// Answers that are read at most until the call afterwards is answered: one for each
/// request that was smuggled in before it.
const SMUGGLED: usize = 4;

pub(crate) async fn run(args: &AttackArgs, json: bool) -> Result<ExitCode, Failure> {
    let cases = Cases::read(args.cases.as_deref()).map_err(Failure::input)?;
    let policy = cases.policy(&args.policy).map_err(Failure::input)?;
    let Some(url) = &args.url else {
        print(&format!("{policy:#}"));
        return Ok(ExitCode::SUCCESS);
    };
    let headers = args.headers.iter().map(|header| header.expose());
    let gateway = Gateway::new(url.expose(), headers).map_err(Failure::usage)?;
    let listener = listening::bind(args.listen, "choose another address with --listen")
        .await
        .map_err(|failure| Failure::input(failure.text()))?;
    let recorder = Recorder::start(listener).map_err(Failure::input)?;
    let address = recorder.address;
    let _ = writeln!(io::stderr(), "the recording server is http://{address}/mcp");
    let of_policy: Vec<_> = cases.of_policy(&args.policy).collect();
    let mut attack = Attack {
        gateway,
        allowed: of_policy.iter().flat_map(|case| case.expected()).collect(),
        recorder,
        spoken: Vec::new(),
        calls: 0,
        patience: PATIENCE,
    };
    attack
        .look(Duration::from_secs(args.wait.into()))
        .await
        .map_err(Failure::input)?;
    let tried = attack.all(&of_policy).await;
    if json {
        print_json(&report::json(&args.policy, &tried, &attack.spoken));
    } else {
        print(&report::text(&args.policy, &tried, &attack.spoken));
    }
    Ok(if report::is_fine(&tried, &attack.spoken) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What became of an allowed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    /// It was executed.
    Through,
    /// It was answered, and not executed.
    Nowhere,
    /// It was not even answered.
    Unanswered,
}

/// A gateway between two ends that are ours.
struct Attack {
    gateway: Gateway,
    recorder: Recorder,
    /// What some request may run.
    allowed: BTreeSet<String>,
    /// The protocols in which an allowed call goes through.
    spoken: Vec<Era>,
    /// The allowed calls so far, by which the recorder tells them apart.
    calls: u64,
    /// How long a request that should be refused may be left unanswered from now on.
    patience: Duration,
}

impl Attack {
    /// Finds out what the gateway speaks, and gives it some time to be there. The
    /// error says why it cannot be attacked.
    async fn look(&mut self, patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        loop {
            let mut seen = self.look_once().await;
            if self.spoken.len() == 1 {
                // It may have become ready between the two.
                seen = self.look_once().await;
            }
            if !self.spoken.is_empty() || Instant::now() >= end {
                self.recorder.take();
                return seen;
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn look_once(&mut self) -> Result<(), String> {
        let error = |error| format!("cannot connect to the gateway: {error}");
        drop(self.gateway.connect().await.map_err(error)?);
        let mut legacy = self.call(Era::Legacy).await;
        // Some gateways answer nobody who did not begin a session.
        if legacy != Went::Through && self.gateway.begin_session().await {
            legacy = self.call(Era::Legacy).await;
        }
        let modern = self.call(Era::Modern).await;
        if [legacy, modern] == [Went::Unanswered; 2] {
            return Err("the gateway does not answer".to_owned());
        }
        let went = [(Era::Legacy, legacy), (Era::Modern, modern)];
        let through = went.iter().filter(|(_, went)| *went == Went::Through);
        self.spoken = through.map(|(era, _)| *era).collect();
        Ok(())
    }

    /// Sends every case. They go one by one: what is executed belongs to the case that
    /// was sent, whatever the gateway made of it.
    async fn all<'c>(&mut self, cases: &[&'c Case]) -> Vec<Tried<'c>> {
        let mut tried = Vec::new();
        let mut there = true;
        for case in cases {
            tried.push(if there {
                let (one, goes_on) = self.one(case).await;
                there = goes_on != Went::Unanswered;
                one
            } else {
                Tried::not_sent(case)
            });
        }
        tried
    }

    /// Sends a case, and then an allowed call, on the same connection if it is still
    /// there: whatever was smuggled in behind the case comes before that. Gives also
    /// what became of the call.
    async fn one<'c>(&mut self, case: &'c Case) -> (Tried<'c>, Went) {
        let (answer, connection) = match self.gateway.connect().await {
            Ok(mut connection) => {
                let bytes = self.gateway.request(&case.request, case.era);
                let patience = if case.executes {
                    PATIENCE
                } else {
                    self.patience
                };
                let begun = Instant::now();
                let verb = &case.request.method;
                let answer = connection.exchange(&bytes, verb, patience).await;
                if answer.is_none() && !case.executes && begun.elapsed() >= patience {
                    // It may be how this gateway refuses, and there are hundreds to come.
                    self.patience = (patience / 2).max(SHORTEST_PATIENCE);
                }
                (answer, Some(connection))
            }
            Err(_) => (None, None),
        };
        let mut executed = self.recorder.take();
        let went = self.call_afterwards(connection).await;
        executed.extend(self.recorder.take());
        let answer = answer.as_ref().map(Answer::summary);
        let tried = self.judge(case, answer, executed, went);
        (tried, went)
    }

    async fn call_afterwards(&mut self, connection: Option<Connection>) -> Went {
        // What goes through in no protocol, does not go through afterwards, either.
        let era = self.spoken.first().copied().unwrap_or(Era::Legacy);
        if let Some(connection) = connection.filter(Connection::goes_on)
            && self.call_on(connection, era).await == Went::Through
        {
            return Went::Through;
        }
        let mut went = self.call(era).await;
        if went != Went::Through && !self.spoken.is_empty() {
            // The case may have ended the session, which is no fault.
            self.gateway.begin_session().await;
            went = self.call(era).await;
        }
        went
    }

    /// Makes an allowed call on a connection of its own.
    async fn call(&mut self, era: Era) -> Went {
        match self.gateway.connect().await {
            Ok(connection) => self.call_on(connection, era).await,
            Err(_) => Went::Unanswered,
        }
    }

    async fn call_on(&mut self, mut connection: Connection, era: Era) -> Went {
        self.calls = self.calls.saturating_add(1);
        let request = cases::allowed_call(self.calls, era);
        let bytes = self.gateway.request(&request, era);
        let mut answer = connection.exchange(&bytes, &request.method, PATIENCE).await;
        let mut went = Went::Unanswered;
        for _ in 0..SMUGGLED {
            let Some(some) = answer.take() else { break };
            went = Went::Nowhere;
            if some.is_to(self.calls) || !connection.goes_on() {
                break;
            }
            answer = connection.answer(&request.method).await;
        }
        if self.recorder.was_called(self.calls) {
            return Went::Through;
        }
        went
    }

    fn judge<'c>(
        &self,
        case: &'c Case,
        answer: Option<Summary>,
        executed: Vec<String>,
        went: Went,
    ) -> Tried<'c> {
        let answered = answer.is_some_and(|answer| !answer.refuses());
        let spoken = self.spoken.is_empty() || self.spoken.contains(&case.era);
        let (verdict, why) = if executed != case.expected() {
            match (case.executes, executed.is_empty()) {
                (true, true) if !spoken => (Verdict::NotTested, None),
                (true, true) => (Verdict::Failed, Some("it is allowed")),
                (true, false) => (Verdict::Failed, Some("something else was executed")),
                // A gateway that reads once and writes anew what it understood keeps its
                // policy all the same.
                (false, _) if executed.iter().all(|name| self.allowed.contains(name)) => (
                    Verdict::Loose,
                    Some("it is doubtful, and what ran is allowed"),
                ),
                (false, _) => (Verdict::Failed, Some("it reached the server")),
            }
        } else if case.executes && !answered {
            (
                Verdict::Failed,
                Some("it ran, and the caller was not told so"),
            )
        } else if went != Went::Through && !self.spoken.is_empty() {
            let why = match went {
                Went::Unanswered => "afterwards nothing is answered",
                _ => "afterwards an allowed call does not go through",
            };
            (Verdict::Failed, Some(why))
        } else if spoken {
            (Verdict::Passed, None)
        } else {
            (Verdict::NotTested, None)
        };
        Tried {
            case,
            executed,
            answer,
            verdict,
            why,
        }
    }
}

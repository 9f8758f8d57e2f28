//! `mcp-policy-proxy` keeps a JSON policy in front of an MCP server that it
//! does not have to trust, link or restart.
//!
//! Each file tells one story: [`cli`] what may be typed, [`gateway`] how the
//! layers are stacked, [`stack`] what they are made of, [`access`] who may talk to the
//! proxy, [`headers`] which headers go on, [`upstream`] and [`connect`] how the server
//! behind is asked, [`listening`], [`server`] and [`shutdown`] how connections are accepted
//! and let go, [`diagnostics`] and [`failure`] how the program says why it does not start,
//! [`environment`] which variables hold secrets, and [`secret`] what else may,
//! [`policy`] how it goes on when the policy changes, [`state`] where it is kept what
//! limits count, [`audit`] where it is recorded what is decided, [`sealing`] with which
//! keys rounds are sealed, [`admin`] where somebody approves calls that wait for that,
//! [`running`] what they see of what runs, [`json_text`] how arguments are shown and
//! [`names`] how names are, [`mod@pointer`] how a place in such a text is written,
//! [`webhook`] who is told of what waits, [`monitor`] and [`traces`] what monitoring
//! is told, [`throttle`] what is not said too often, [`public`] what callers see of that,
//! and [`page`] how a browser gets pages, [`config`] which servers there are and for whom,
//! [`lockdown`] what of that is locked, [`jwt`] what tokens of issuers prove, and [`fleet`]
//! how many are served, [`serve`] and [`demo`] what there is to start, and
//! [`around`] what comes with it. [`stdio`] is the same
//! policy without HTTP, and [`bridge`] with HTTP on one side only: [`child`] is the server
//! that they start, [`lines`] how messages are told apart, [`message`] what has to be known
//! of one to carry it, [`stream`] which answers are streams. [`client`] asks servers what
//! they offer, [`called`] is what can be called, [`recorded`] reads what was recorded and
//! [`members`] what people write in JSON, and [`verdicts`] are what policies say of that.
//! [`commands`] guard nothing: they are about policies, about what a proxy has recorded,
//! counted and asked, about grants and lockdown, and attack gateways.

mod access;
mod admin;
mod answers;
mod around;
mod audit;
mod bridge;
mod called;
mod child;
mod cli;
mod client;
mod commands;
mod config;
mod connect;
mod demo;
mod diagnostics;
mod environment;
mod failure;
mod fleet;
mod gateway;
mod headers;
mod json_text;
mod jwt;
mod lines;
mod listening;
mod lock;
mod lockdown;
mod members;
mod message;
mod monitor;
mod names;
mod page;
mod pointer;
mod policy;
mod public;
mod recorded;
mod running;
mod sealing;
mod secret;
mod serve;
mod server;
mod shutdown;
mod stack;
mod state;
mod stdio;
mod stream;
mod throttle;
mod traces;
mod turns;
mod upstream;
mod verdicts;
mod webhook;
mod workers;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

/// Those of C libraries take longer for calls; see `src/docs/performance.md`.
#[cfg(any(feature = "mimalloc", target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(failure) = cli::misplaced(std::env::args_os()) {
        return failure.report(false);
    }
    let cli = Cli::parse();
    log_to_stderr();
    match start(&cli) {
        Ok(code) => code,
        Err(failure) => failure.report(cli.json),
    }
}

/// Threads for all that is not a connection of callers.
const MOST_THREADS: usize = 2;

fn start(cli: &Cli) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Calls are not made here: connections have threads of their own.
        .worker_threads(workers::count().min(MOST_THREADS))
        .enable_all()
        .build()
        .map_err(|error| Failure::start(format!("cannot start the async runtime: {error}")))?;
    let ended = match &cli.command {
        Some(Command::Serve(args)) => runtime.block_on(serve::run(args)),
        Some(Command::Stdio(args)) => runtime.block_on(stdio::run(args)),
        Some(Command::Check(args)) => runtime.block_on(commands::check(args, cli.json)),
        Some(Command::Scan(args)) => runtime.block_on(commands::scan(args, cli.json)),
        Some(Command::Explain(args)) => commands::explain(args, cli.json),
        Some(Command::Test(args)) => commands::test(args, cli.json),
        Some(Command::Diff(args)) => commands::diff(args, cli.json),
        Some(Command::Replay(args)) => commands::replay(args, cli.json),
        Some(Command::Log(args)) => commands::log(args, cli.json),
        Some(Command::Limits(command)) => runtime.block_on(commands::limits(command, cli.json)),
        Some(Command::Approvals(command)) => {
            runtime.block_on(commands::approvals(command, cli.json))
        }
        Some(Command::Attack(args)) => runtime.block_on(commands::attack(args, cli.json)),
        Some(Command::Grant(command)) => commands::grants(command, cli.json),
        Some(Command::Lockdown(command)) => commands::lockdown(command, cli.json),
        None => runtime.block_on(demo::run(&cli.demo)),
    };
    // A read of stdin cannot be called off, and dropping the runtime would wait
    // for the client's next line.
    runtime.shutdown_background();
    ended
}

/// Logs go to stderr, because stdout belongs to what a command was asked for.
///
/// Nothing in this program hands a header value, an argument or a token to
/// `tracing`, so no level can bring one out; what a server says on stderr is
/// only handed over where `--show-server-stderr` asks for it.
fn log_to_stderr() {
    let usual = || {
        Targets::new()
            .with_default(tracing::Level::WARN)
            .with_target("mcp_policy", tracing::Level::INFO)
            .with_target("mcp_policy_proxy", tracing::Level::INFO)
    };
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let parsed = asked.as_deref().map(str::parse::<Targets>);
    let unreadable = matches!(parsed, Some(Err(_)));
    let targets = parsed.and_then(Result::ok).unwrap_or_else(usual);
    tracing_subscriber::registry()
        .with(targets)
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(diagnostics::colours(io::stderr().is_terminal())),
        )
        .init();
    if unreadable {
        tracing::warn!("RUST_LOG is not understood and ignored; it reads like `info,hyper=debug`");
    }
}

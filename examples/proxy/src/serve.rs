//! The `serve` command: one policy in front of one upstream.

use std::{
    io::{self, ErrorKind, Write},
    net::SocketAddr,
    process::ExitCode,
};

use mcp_policy::Policy;
use tokio::net::TcpListener;

use crate::{
    access::{Access, ENDPOINT},
    cli::{Secret, ServeArgs},
    diagnostics,
    failure::Failure,
    gateway::gateway,
    server::{self, DRAIN_TIMEOUT, Ended},
    shutdown::Signals,
    upstream::{Target, Upstream},
};

/// Runs until a signal stops it.
pub(crate) async fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    if !args.listen.ip().is_loopback() && !args.allow_unauthenticated {
        return Err(exposed(args.listen));
    }
    let access = Access::with(
        args.listen,
        &args.allowed_hosts,
        &args.allowed_origins,
        args.pass_authorization,
    )
    .map_err(Failure::Usage)?;
    let target = Target::new(
        args.upstream.expose(),
        args.headers.iter().map(Secret::expose),
    )
    .map_err(Failure::Usage)?;
    let policy =
        Policy::from_path(&args.policy).map_err(|error| Failure::policy(&args.policy, error))?;
    diagnostics::warn(&args.policy, &policy);
    if args.listen.ip().is_unspecified() && args.allowed_hosts.is_empty() {
        tracing::warn!(
            "callers have to use a loopback name: name the host that others use with --allowed-host"
        );
    }

    let listener = bind(args.listen, "choose another address with --listen").await?;
    tracing::info!(
        policy = %args.policy.display(),
        upstream = target.authority(),
        "loaded"
    );
    guard(listener, policy, access, target, |_| ()).await
}

/// Guards `target` until the first signal, and finishes what is open then.
pub(crate) async fn guard(
    listener: TcpListener,
    policy: Policy,
    access: Access,
    target: Target,
    ready: impl FnOnce(SocketAddr),
) -> Result<ExitCode, Failure> {
    let upstream = Upstream::new(target)
        .map_err(|error| Failure::start(format!("cannot set up TLS: {error}")))?;
    let service = gateway(policy, access, upstream);
    let mut signals = Signals::listen()
        .map_err(|error| Failure::start(format!("cannot listen to signals: {error}")))?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::start(format!("cannot tell the own address: {error}")))?;
    // Other programs wait for this line and read the address out of it.
    let _ = writeln!(io::stderr(), "listening on http://{address}{ENDPOINT}");
    ready(address);
    Ok(
        match server::serve(listener, service, async || signals.next().await).await {
            Ended::Drained => ExitCode::SUCCESS,
            Ended::CutOff => {
                tracing::warn!(
                    after = DRAIN_TIMEOUT.as_secs(),
                    "stopped with calls or streams still open"
                );
                ExitCode::SUCCESS
            }
            // What a shell reports for a program that ctrl-c ended.
            Ended::Interrupted => ExitCode::from(130),
        },
    )
}

/// Takes the address, or says what to do about it.
pub(crate) async fn bind(listen: SocketAddr, otherwise: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        Failure::start(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{listen} is taken by another program: stop it, or {otherwise}")
            }
            _ => format!("cannot listen on {listen}: {error}"),
        })
    })
}

/// Why an address that others reach is refused.
fn exposed(listen: SocketAddr) -> Failure {
    Failure::usage(format!(
        "{listen} can be reached from other machines, and nobody there would have to prove who \
         they are: listen on a loopback address such as 127.0.0.1:{}, or say \
         --allow-unauthenticated if something in front of this proxy authenticates callers",
        listen.port()
    ))
}

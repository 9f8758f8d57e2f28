//! The `serve` command: one policy in front of one server; or, in [`fleet`],
//! many.

use std::{net::SocketAddr, path::Path, process::ExitCode};

use hyper::body::Incoming;
use mcp_policy::{PolicyFile, PolicyLayer};
use tokio::net::TcpListener;

use crate::{
    access::{Access, ENDPOINT},
    admin::Admin,
    answers::Answers,
    around::{self, Kept, Wanted},
    bridge::Bridge,
    cli::ServeArgs,
    failure::Failure,
    fleet,
    gateway::gateway,
    listening, policy,
    public::{self, PublicPages, PublicUrl},
    running::{self, PolicyNow, Reach},
    sealing,
    secret::Secret,
    shutdown::Hangups,
    stack,
    state::{State, Stores},
    upstream::Target,
    webhook,
};

/// Runs until a signal stops it.
pub(crate) async fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    match (&args.server.config, &args.policy) {
        (Some(config), _) => fleet::run(config, &args.state).await,
        (None, Some(policy)) => guard_one(args, policy).await,
        // The command line asks for one of them.
        (None, None) => Err(Failure::usage("--policy names the policy document")),
    }
}

/// One policy in front of one server.
async fn guard_one(args: &ServeArgs, policy_file: &Path) -> Result<ExitCode, Failure> {
    let Entry {
        public,
        access,
        names_hosts,
    } = Entry::of(args)?;
    let headers = args.headers.iter().map(Secret::expose);
    let target = match &args.server.upstream {
        Some(url) => Some(Target::new(url.expose(), headers).map_err(Failure::Usage)?),
        None => None,
    };
    let state = State::parse(&args.state)?;
    let webhook = args.webhook.as_ref().map(webhook::open).transpose()?;
    let admin = Admin::new(args.admin)?;
    let policy = policy::watch(policy_file, state.keeps(), admin.follows(), admin.news())?;
    if args.listen.ip().is_unspecified() && !names_hosts {
        tracing::warn!(
            "callers have to use a loopback name: name the host that others use with --allowed-host"
        );
    }
    take_hangups()?;
    let name = name_of(args, target.as_ref());
    let wanted = Wanted {
        listen: args.listen,
        otherwise: "choose another address with --listen",
        metrics: args.metrics,
        audit: args.audit.audit.as_ref(),
        audit_keep: args.audit.audit_keep,
    };
    let begun = around::begin(&wanted, admin).await?;
    tracing::info!(policy = %policy_file.display(), server = &*name, "loaded");
    let key = sealing::read(args.key_file.as_deref())?;
    let stores = state.open(&name, key).await?;
    let around = begun.keeping_in(kept(&stores), webhook);
    let pages = public
        .as_ref()
        .map(|url| PublicPages::new(url, access.clone(), around.admin.approvals()));
    let layer = stack::layer(policy.clone(), &name, Some(around.audit), stores);
    let layer = stack::told_of(public, layer);
    let shown = shown(policy_file, &policy);
    let reach = reach(args, target.as_ref());
    let admin = around.admin.showing(running::alone_is(name, reach, shown));
    let layer = admin.under(layer).dangerous();
    let layer = layer.sessions_per_minute(args.sessions_per_minute);
    let ended = match target {
        Some(target) => {
            admin.open(&access).await?;
            let upstream = stack::upstream(target)?;
            around.monitoring.open(&access);
            let service = public::beside(gateway(layer, access, upstream), pages);
            listening::serve_until_stopped(around.listener, service, &alone(), |_| ()).await
        }
        None => {
            let command = args.server.command.clone();
            let bridge = Bridge::new(command, policy, args.show_server_stderr);
            admin.open(&access).await?;
            around.monitoring.open(&access);
            let service = gateway(layer, access, bridge.clone());
            guard_command(around.listener, public::beside(service, pages), bridge).await
        }
    };
    around.ending.end().await;
    ended
}

/// Who may come in, and by which name.
struct Entry {
    public: Option<PublicUrl>,
    access: Access,
    /// Whether there is a name besides those that always work.
    names_hosts: bool,
}

impl Entry {
    fn of(args: &ServeArgs) -> Result<Self, Failure> {
        if !args.listen.ip().is_loopback() && !args.allow_unauthenticated {
            return Err(exposed(args.listen));
        }
        let public = args.public_url.as_deref().map(PublicUrl::parse);
        let wrong = |what| Failure::usage(format!("`--public-url` {what}"));
        let public = public.transpose().map_err(wrong)?;
        let mut hosts = args.allowed_hosts.clone();
        hosts.extend(public.as_ref().map(|url| url.authority().to_owned()));
        let access = Access::with(
            args.listen,
            &hosts,
            &args.allowed_origins,
            args.pass_authorization,
        );
        Ok(Self {
            public,
            access: access.map_err(Failure::Usage)?,
            names_hosts: !hosts.is_empty(),
        })
    }
}

/// Where state is kept in front of one server.
fn kept(stores: &Stores) -> Kept {
    Kept {
        approvals: stores.approvals(),
        counted: stores.counted(),
        sessions: stores.sessions(),
        opened: stores.opened(),
    }
}

/// The policy as it is now, of this file.
fn shown(path: &Path, policy: &PolicyFile) -> impl Fn() -> PolicyNow + Send + Sync + 'static {
    let (file, path) = (policy.clone(), path.to_owned());
    move || PolicyNow {
        path: path.clone(),
        is_in_file: true,
        policy: file.current(),
        uses: Vec::new(),
    }
}

/// A policy is read again whenever its file changes, so whoever asks for that has it
/// already, and does not end what is open.
fn take_hangups() -> Result<(), Failure> {
    let mut hangups = Hangups::listen()
        .map_err(|error| Failure::start(format!("cannot listen to signals: {error}")))?;
    tokio::spawn(async move {
        loop {
            hangups.next().await;
            tracing::info!("SIGHUP changes nothing: the policy is read whenever its file changes");
        }
    });
    Ok(())
}

/// What the server is called: its host and port, or its program, unless it has a name.
fn name_of(args: &ServeArgs, target: Option<&Target>) -> String {
    let name = args.server_name.clone();
    name.unwrap_or_else(|| reach(args, target).told())
}

/// How the only server is asked.
fn reach(args: &ServeArgs, target: Option<&Target>) -> Reach {
    match target {
        Some(target) => Reach::Upstream(Box::new(target.clone())),
        None => Reach::Command(Box::new(args.server.command.clone().into())),
    }
}

/// Where the only server is served.
fn alone() -> [String; 1] {
    [ENDPOINT.to_owned()]
}

/// Guards what the bridge starts until the first signal, and leaves none of it
/// behind.
async fn guard_command(
    listener: TcpListener,
    service: impl Answers<Incoming>,
    bridge: Bridge,
) -> Result<ExitCode, Failure> {
    let ended = listening::serve_until_stopped(listener, service, &alone(), |_| ()).await;
    bridge.end().await;
    ended
}

/// Guards `target` until the first signal, and finishes what is open then.
pub(crate) async fn guard(
    listener: TcpListener,
    policy: PolicyLayer,
    access: Access,
    target: Target,
    ready: impl FnOnce(SocketAddr),
) -> Result<ExitCode, Failure> {
    let service = gateway(policy, access, stack::upstream(target)?);
    listening::serve_until_stopped(listener, service, &alone(), ready).await
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

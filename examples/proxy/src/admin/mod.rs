//! Where operators see what runs, change policies, and decide about calls that wait: an
//! address of its own, which no caller needs to reach.
//!
//! [`site`] is what is served there: an [`api`] and [`pages`]. [`operators`] is who is let
//! in, and [`roles`] what they may do; [`crate::running`], [`recent`] and [`news`] are what is shown
//! of what runs, was decided and has changed, [`known`] is what the servers offer, and
//! [`view`] shows a request.

mod api;
mod known;
mod news;
mod operators;
mod pages;
mod recent;
mod roles;
mod site;
mod view;

use std::{
    collections::BTreeMap,
    future::pending,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use mcp_policy::{
    ApprovalStore, Approvals, AuditSink, MemoryApprovalStore, Mode, Policy, PolicyLayer, RuleAction,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

pub(crate) use self::news::News;
use self::operators::Operators;
use self::{known::Known, recent::Recent};
use crate::{
    access::Access,
    audit::{Place, Records},
    environment::TOKENS,
    failure::Failure,
    listening,
    running::{Now, Running},
    server,
    state::Counted,
};

/// Where the admin API is when nothing else is said.
pub(crate) const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8788);

/// The path of what waits.
pub(crate) const PATH: &str = "/approvals";

/// The path of what a gateway of many servers says of itself.
const GATEWAY: &str = "/gateway";

/// The admin API, before it is open.
pub(crate) struct Admin {
    address: Option<SocketAddr>,
    operators: Option<Operators>,
    store: Arc<dyn ApprovalStore>,
    /// Whether the policy asks for approvals.
    asks: watch::Sender<bool>,
    told: Told,
}

/// What operators are told.
#[derive(Clone)]
pub(crate) struct Told {
    status: Option<Status>,
    running: Arc<dyn Running>,
    recent: Recent,
    news: News,
    /// What servers offer.
    known: Known,
    /// Where decisions are recorded, if anywhere.
    audit: Option<Place>,
    /// What limits have counted, if that is known.
    counted: Option<Counted>,
}

/// Tells how a gateway of many servers is.
pub(crate) type Status = Arc<dyn Fn() -> Value + Send + Sync>;

impl Admin {
    /// At the address that was asked for, or else at the usual one as soon as the policy
    /// asks for approvals.
    pub(crate) fn new(address: Option<SocketAddr>) -> Result<Self, Failure> {
        let operators = Operators::from_environment()?;
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            if operators.is_none() {
                return Err(Failure::usage(format!(
                    "operators at {address} can be reached from other machines: name them and their \
                     tokens in {TOKENS}, or use a loopback address such as {DEFAULT_ADMIN}"
                )));
            }
            tracing::warn!(
                "tokens and arguments go to and from operators unencrypted: put TLS in front of their address"
            );
        }
        Ok(Self {
            address,
            operators,
            store: Arc::new(MemoryApprovalStore::default()),
            asks: watch::Sender::new(false),
            told: Told {
                status: None,
                running: Arc::new(Now::default),
                recent: Recent::default(),
                news: News::default(),
                known: Known::default(),
                audit: None,
                counted: None,
            },
        })
    }

    /// The same, with what waits kept there rather than in memory.
    pub(crate) fn keeping_in(self, store: Option<Arc<dyn ApprovalStore>>) -> Self {
        Self {
            store: store.unwrap_or(self.store),
            ..self
        }
    }

    /// The same, which tells programs this, too.
    pub(crate) fn telling(mut self, status: Status) -> Self {
        self.told.status = Some(status);
        self
    }

    /// The same, which shows this.
    pub(crate) fn showing(mut self, running: impl Running) -> Self {
        self.told.running = Arc::new(running);
        self
    }

    /// The same, which shows what is decided; and where it is recorded, if that is said.
    pub(crate) fn recording_in(mut self, audit: Option<&Place>) -> Self {
        self.told.audit = audit.cloned();
        self
    }

    /// The same, which shows what limits have counted, if that is known.
    pub(crate) fn counting_in(mut self, counted: Option<Counted>) -> Self {
        self.told.counted = counted;
        self
    }

    /// What records in this sink, and shows it here.
    pub(crate) fn shown_beside(&self, records: Option<Records>) -> Arc<dyn AuditSink> {
        self.told.recent.beside(records)
    }

    /// Where it has to be told what changes.
    pub(crate) fn news(&self) -> &News {
        &self.told.news
    }

    /// What has to be told of every policy from now on.
    pub(crate) fn follows(&self) -> impl Fn(&Policy) + Clone + Send + use<> {
        let asks_now = self.asks.clone();
        move |policy| {
            asks_now.send_replace(asks(policy));
        }
    }

    /// What has to be told of all policies together from now on.
    pub(crate) fn follows_all(&self) -> impl Fn(&[&Policy]) + Send + Sync + use<> {
        let asks_now = self.asks.clone();
        move |policies| {
            asks_now.send_replace(policies.iter().any(|policy| asks(policy)));
        }
    }

    /// The layer, whose calls wait here.
    pub(crate) fn under(&self, layer: PolicyLayer) -> PolicyLayer {
        layer.approval_store(self.store())
    }

    /// Where they wait.
    pub(crate) fn store(&self) -> Arc<dyn ApprovalStore> {
        Arc::clone(&self.store)
    }

    /// What waits here.
    pub(crate) fn approvals(&self) -> Approvals {
        Approvals::new(Arc::clone(&self.store))
    }

    /// Opens it now, if it is needed now; else once it is: for those who name a host by
    /// which callers are admitted, too.
    pub(crate) async fn open(self, callers: &Access) -> Result<(), Failure> {
        let callers = callers.clone();
        let mut asks = self.asks.subscribe();
        if self.address.is_some() || *asks.borrow_and_update() {
            self.serve(self.bind().await?, &callers);
            return Ok(());
        }
        tokio::spawn(async move {
            while asks.wait_for(|asks| *asks).await.is_ok() {
                match self.bind().await {
                    Ok(listener) => return self.serve(listener, &callers),
                    Err(failure) => {
                        let why = failure.text();
                        tracing::error!("nobody can approve what the policy asks for: {why}");
                    }
                }
                // Another policy is another chance.
                if asks.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    async fn bind(&self) -> Result<TcpListener, Failure> {
        let address = self.address.unwrap_or(DEFAULT_ADMIN);
        let otherwise = "choose another address for operators, with --admin or `admin` in the \
                         configuration";
        listening::bind(address, otherwise).await
    }

    /// Serves until the program ends: calls that are still open then may wait for it.
    fn serve(&self, listener: TcpListener, callers: &Access) {
        let Opened { address, token } = self.open_at(listener, callers);
        let mut said = format!("approvals wait at http://{address}{PATH}\n");
        said += &format!("the console is at http://{address}/\n");
        if let Some(token) = token {
            said += &format!("the token of the operator `admin` is {token}\n");
        }
        // Not for the log, which others may keep. Other programs read it.
        let _ = io::stderr().write_all(said.as_bytes());
    }

    /// The same, and tells nobody but who asked for it.
    pub(crate) fn open_at(&self, listener: TcpListener, callers: &Access) -> Opened {
        self.told.recent.is_shown();
        let address = listener.local_addr();
        let address = address.unwrap_or_else(|_| self.address.unwrap_or(DEFAULT_ADMIN));
        let mut token = None;
        let operators = self.operators.clone().unwrap_or_else(|| {
            let (operators, new) = Operators::generated();
            token = Some(new);
            operators
        });
        let service = site::service(
            callers.at(address),
            operators,
            self.approvals(),
            self.told.clone(),
        );
        tokio::spawn(server::serve(listener, service, async || pending().await));
        Opened { address, token }
    }
}

/// The console, where it is open.
pub(crate) struct Opened {
    pub(crate) address: SocketAddr,
    /// Of the only operator, if the environment names none.
    pub(crate) token: Option<String>,
}

/// Says that what a policy asks for is refused, where there is nobody to ask.
pub(crate) fn warn_of_nobody(policy: &Policy) {
    if asks(policy) {
        tracing::warn!(
            "the policy asks for approvals, and nobody can give one here: those calls are refused. \
             `serve` can ask"
        );
    }
}

/// Whether some call may have to be approved.
fn asks(policy: &Policy) -> bool {
    let document = policy.document();
    let sections = [&document.tools, &document.resources, &document.prompts];
    let rules = sections.into_iter().flat_map(BTreeMap::values);
    let mut enforced = rules
        .chain(document.risk.values())
        .chain(&document.all_tools)
        .filter(|rule| rule.mode != Mode::Shadow);
    document.mode != Mode::Shadow
        && enforced.any(|rule| {
            rule.require_approval.is_some() || rule.action == RuleAction::RequireApproval
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_asks_if_a_rule_does_that_is_enforced() {
        for (rest, expected) in [
            (r#""tools":{"a":{"require_approval":true}}"#, true),
            (r#""tools":{"a":{"action":"require_approval"}}"#, true),
            (r#""prompts":{"a":{"require_approval":true}}"#, true),
            (r#""resources":{"a:b":{"require_approval":true}}"#, true),
            (
                r#""tools":{"a":{}},"all_tools":{"require_approval":true}"#,
                true,
            ),
            (r#""tools":{"a":{}}"#, false),
            (
                r#""tools":{"a":{"mode":"shadow","require_approval":true}}"#,
                false,
            ),
            (
                r#""mode":"shadow","tools":{"a":{"require_approval":true}}"#,
                false,
            ),
        ] {
            let text = format!(r#"{{"version":"1","default":"deny",{rest}}}"#);
            let policy = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(asks(&policy), expected, "{text}");
        }
    }
}

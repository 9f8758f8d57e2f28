//! What servers offer, as far as they have said: asked when somebody wants to see it, and
//! kept for a while.
//!
//! They are asked directly, as `scan` does it: no policy judges that, no limit counts it,
//! and it is in no log.

use std::{
    collections::BTreeMap,
    fmt,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use mcp_policy::{
    Assessment, ListedTools, PolicyDocument, Siblings, classify, definition_warnings, recommend,
};
use tokio::{
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::{
    client::{self, Definitions, Offer},
    lock::lock,
    running::{Reach, ServerNow},
};

/// How long a server may take, even one that has to be downloaded and started.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer is good enough not to ask again.
const FRESH: Duration = Duration::from_secs(600);
/// How long a server that gave none is left alone.
const REST: Duration = Duration::from_secs(60);
/// Tools of a server that are kept, and bytes of their definitions: what is kept of them
/// takes many times the room.
const MOST_TOOLS: usize = 10_000;
const MOST_BYTES: usize = 4 << 20;
/// So many servers are asked at once: each may be a program that is started for it.
const AT_ONCE: usize = 4;

/// What is known of the servers; clones share it.
#[derive(Clone)]
pub(crate) struct Known(Arc<Shared>);

struct Shared {
    servers: Mutex<BTreeMap<String, Server>>,
    at_once: Semaphore,
    changes: watch::Sender<()>,
}

/// A server, and what it said.
struct Server {
    reach: Reach,
    /// Whoever asks it now.
    asking: Option<Asking>,
    /// When that was last known to be so, or not to be had.
    since: Option<Instant>,
    trouble: Option<String>,
    answered: Option<Answered>,
}

/// Stops to ask when nobody wants to know any more.
struct Asking(AbortHandle);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a server offers, and when it said so.
#[derive(Clone)]
pub(crate) struct Answered {
    pub(crate) at: SystemTime,
    pub(crate) offered: Arc<Offered>,
}

/// How it stands with a server.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    /// Whether it is being asked.
    pub(crate) is_asked: bool,
    /// Why it said nothing the last time, in words that are not the server's.
    pub(crate) trouble: Option<String>,
    /// The last that it said.
    pub(crate) answered: Option<Answered>,
}

/// What a server offers.
pub(crate) struct Offered {
    /// Its tools, in its order.
    pub(crate) tools: Definitions,
    /// How dangerous each of them is.
    pub(crate) risks: Vec<Assessment>,
    /// Whether something in the definition of each of them is meant for models rather than
    /// people.
    pub(crate) warned: Vec<bool>,
    /// By which a policy judges calls of them.
    pub(crate) listed: ListedTools,
    /// The policy to begin with.
    pub(crate) recommended: PolicyDocument,
    /// How many there are; `None` if the server would not say.
    pub(crate) prompts: Option<usize>,
    pub(crate) resources: Option<usize>,
    pub(crate) resource_templates: Option<usize>,
}

impl Offered {
    fn of(mut offer: Offer) -> Result<Self, String> {
        if offer.tools.len() > MOST_TOOLS {
            return Err(format!("it has more than {MOST_TOOLS} tools"));
        }
        let sizes = offer.tools.iter().map(|tool| tool.get().len());
        if sizes.fold(0, usize::saturating_add) > MOST_BYTES {
            let most = MOST_BYTES >> 20;
            return Err(format!("its tools are larger than {most} MiB together"));
        }
        let tools = Definitions::read(std::mem::take(&mut offer.tools))?;
        let siblings = Siblings::of(&tools.definitions);
        let risks = tools.definitions.iter();
        let risks = risks.map(|tool| classify(tool, &siblings)).collect();
        let others = Siblings::of(&[]);
        let warned = tools.values.iter();
        let warned = warned.map(|tool| !definition_warnings(tool, &others).is_empty());
        Ok(Self {
            risks,
            warned: warned.collect(),
            listed: ListedTools::of(&tools.values),
            recommended: recommend(&tools.definitions),
            tools,
            prompts: offer.prompts,
            resources: offer.resources,
            resource_templates: offer.resource_templates,
        })
    }
}

impl Default for Known {
    fn default() -> Self {
        Self(Arc::new(Shared {
            servers: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
            changes: watch::Sender::new(()),
        }))
    }
}

impl Known {
    /// What a server offers, if it has said so.
    pub(crate) fn of(&self, server: &str) -> Option<Arc<Offered>> {
        let servers = self.servers();
        let answered = servers.get(server)?.answered.as_ref()?;
        Some(Arc::clone(&answered.offered))
    }

    /// How it stands with a server.
    pub(crate) fn standing(&self, server: &str) -> Standing {
        let servers = self.servers();
        let standing = servers.get(server).map(|server| Standing {
            is_asked: server.asking.is_some(),
            trouble: server.trouble.clone(),
            answered: server.answered.clone(),
        });
        standing.unwrap_or_default()
    }

    /// Has those servers asked of which too little is known, and forgets those that there
    /// are not any more. Nobody waits for the answers here: [`changes`](Self::changes)
    /// tells of them.
    pub(crate) fn look(&self, servers: &[ServerNow]) {
        self.ask(servers, |known| known.is_stale(Instant::now()));
    }

    /// Has all of them asked, whatever is known.
    pub(crate) fn look_anew(&self, servers: &[ServerNow]) {
        self.ask(servers, |_| true);
    }

    /// Tells that a server has answered, or has not.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    fn ask(&self, servers: &[ServerNow], is_wanted: impl Fn(&Server) -> bool) {
        let mut held = self.servers();
        held.retain(|name, known| {
            let is_it = |now: &ServerNow| now.name == *name && now.reach == known.reach;
            servers.iter().any(is_it)
        });
        for now in servers {
            let known = held
                .entry(now.name.clone())
                .or_insert_with(|| Server::reached_by(now.reach.clone()));
            if known.asking.is_none() && is_wanted(known) {
                let asking = self.clone().answer(now.name.clone(), now.reach.clone());
                known.asking = Some(Asking(tokio::spawn(asking).abort_handle()));
            }
        }
    }

    /// Asks a server and remembers what it says.
    async fn answer(self, name: String, reach: Reach) {
        // It is never closed.
        let _turn = self.0.at_once.acquire().await;
        let asked = timeout(PATIENCE, offer_of(&reach)).await;
        let offer = asked.unwrap_or_else(|_| Err(late()));
        // There may be much to read.
        let read = tokio::task::spawn_blocking(|| offer.and_then(Offered::of)).await;
        let offered = read.unwrap_or_else(|_| Err("its tools could not be read".to_owned()));
        if let Err(reason) = &offered {
            tracing::info!(server = name, reason, "said nothing of its tools");
        }
        let mut servers = self.servers();
        let known = servers.get_mut(&name);
        if let Some(known) = known.filter(|known| known.reach == reach) {
            known.has_said(offered);
        }
        drop(servers);
        self.0.changes.send_replace(());
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<String, Server>> {
        lock(&self.0.servers)
    }
}

impl Server {
    fn reached_by(reach: Reach) -> Self {
        Self {
            reach,
            asking: None,
            since: None,
            trouble: None,
            answered: None,
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        let lasts = match self.trouble {
            Some(_) => REST,
            None => FRESH,
        };
        self.since
            .is_none_or(|since| now.duration_since(since) >= lasts)
    }

    /// What it said before is still the last that is known, if it says nothing now.
    fn has_said(&mut self, offered: Result<Offered, String>) {
        self.asking = None;
        self.since = Some(Instant::now());
        match offered {
            Ok(offered) => {
                self.trouble = None;
                self.answered = Some(Answered {
                    at: SystemTime::now(),
                    offered: Arc::new(offered),
                });
            }
            Err(reason) => self.trouble = Some(reason),
        }
    }
}

async fn offer_of(reach: &Reach) -> Result<Offer, String> {
    match reach {
        Reach::Upstream(target) => client::everything_of_upstream((**target).clone()).await,
        Reach::Command(program) => client::everything_of_command(program, Stdio::null()).await,
    }
}

fn late() -> String {
    format!("it did not answer within {} s", PATIENCE.as_secs())
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn server(name: &str, reach: Reach) -> ServerNow {
        ServerNow {
            name: name.to_owned(),
            reach,
            is_issued: false,
        }
    }

    fn no_program(name: &str) -> Reach {
        Reach::Command(Box::new(
            vec![format!("./no-such-program-{name}").into()].into(),
        ))
    }

    #[tokio::test]
    async fn a_server_is_asked_once_until_that_is_long_ago() {
        tokio::time::pause();
        let known = Known::default();
        let mut changes = known.changes();
        let servers = [server("a", no_program("a"))];
        for _ in 0..2 {
            known.look(&servers);
            assert!(known.standing("a").is_asked);
        }
        changes.changed().await.unwrap();
        let standing = known.standing("a");
        assert!(!standing.is_asked && standing.trouble.is_some());
        assert!(known.of("a").is_none());
        known.look(&servers);
        assert!(!known.standing("a").is_asked);
        tokio::time::advance(REST).await;
        known.look(&servers);
        assert!(known.standing("a").is_asked);
        changes.changed().await.unwrap();
        known.look_anew(&servers);
        assert!(known.standing("a").is_asked);
    }

    #[tokio::test]
    async fn another_server_of_the_name_is_another_one() {
        let known = Known::default();
        let mut changes = known.changes();
        known.look(&[server("a", no_program("a")), server("b", no_program("b"))]);
        changes.changed().await.unwrap();
        let other = no_program("other");
        known.look(&[server("a", other)]);
        assert!(known.standing("a").is_asked && known.standing("a").trouble.is_none());
        let gone = known.standing("b");
        assert!(!gone.is_asked && gone.trouble.is_none());
    }

    #[test]
    fn of_a_server_that_says_too_much_nothing_is_kept() {
        let offered = |tools: Vec<String>| {
            let tools = tools.into_iter().map(RawValue::from_string);
            Offered::of(Offer {
                tools: tools.collect::<Result<_, _>>().unwrap(),
                instructions: None,
                prompts: None,
                resources: None,
                resource_templates: None,
            })
        };
        let long = format!(
            r#"{{"name":"a","description":"{}"}}"#,
            "x".repeat(MOST_BYTES / 2)
        );
        let short = r#"{"name":"a"}"#.to_owned();
        assert!(offered(vec![long.clone(), short.clone()]).is_ok());
        for tools in [vec![long; 2], vec![short; MOST_TOOLS + 1]] {
            assert!(offered(tools).is_err());
        }
    }

    #[test]
    fn what_was_said_before_is_shown_beside_why_nothing_is_said_now() {
        let mut server = Server::reached_by(no_program("a"));
        let offer = Offer {
            tools: Vec::new(),
            instructions: None,
            prompts: Some(1),
            resources: None,
            resource_templates: None,
        };
        server.has_said(Offered::of(offer));
        assert!(server.trouble.is_none());
        server.has_said(Err(late()));
        assert!(server.trouble.is_some() && server.answered.is_some());
        let later = |by| server.since.unwrap() + by;
        assert!(server.is_stale(later(REST)) && !server.is_stale(later(REST / 2)));
    }
}

//! Reads the configuration again.
//!
//! Whether it is still the one that was read is asked with every request, so that a
//! revoked token and another policy hold from the next call on, whatever else notices
//! changes late. Streams hear of a change within a second.

use std::{
    collections::HashSet,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use super::{Fleet, Running, Start, Trouble, made, policies::Table, replace_policies};
use crate::{
    admin::News,
    config::{
        Config, Grant, Standing, Unloadable,
        files::{Files, Seen},
    },
    diagnostics,
    failure::Failure,
    lock::write,
    policy,
    shutdown::Hangups,
};

/// How often it is looked whether something has changed, while nobody calls.
const LOOK: Duration = Duration::from_secs(1);

impl Fleet {
    /// What holds for a request that comes now.
    pub(super) async fn current(&self) -> Arc<Running> {
        let running = self.running();
        if running.files.first().is_some_and(Seen::is_current) {
            return running;
        }
        self.reload().await;
        self.running()
    }

    /// Reads everything again, unless somebody else just has.
    pub(super) async fn reload(&self) {
        let _turn = self.reading.lock().await;
        if !self.running().files.are_current() {
            self.read().await;
        }
    }

    /// Reads everything again, whatever it looks like.
    async fn reload_anyway(&self) {
        let _turn = self.reading.lock().await;
        self.read().await;
    }

    async fn read(&self) {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || Config::load(&path));
        match reading.await {
            Ok(Ok(config)) => self.take(config),
            Ok(Err(unloadable)) => self.keep(*unloadable),
            // Who is let in is not known then.
            Err(error) => {
                tracing::error!(%error, "the configuration was not read");
                let files = self.running().files.clone();
                self.narrow(files, Trouble::Unreadable(error.to_string()), None);
            }
        }
    }

    /// From the next request on this holds.
    fn take(&self, mut config: Config) {
        let old = self.running();
        // Where it listens now, whatever the configuration says by now.
        let listen = self.settled.start.listen;
        let exposed = config.exposed_at(listen).map_or(Ok(()), Err);
        let servers = exposed.and_then(|()| {
            made(&config, &old.servers, &self.settled).map_err(|failure| failure.text())
        });
        let servers = match servers {
            Ok(servers) => servers,
            Err(why) => {
                let grants = &config.grants;
                let standing = grants.iter().filter(|grant| !grant.is_revoked);
                let standing = standing.map(|grant| (grant.token, grant.server.clone()));
                let standing = standing.collect();
                self.settled.lockdown.follow_too(&config.lockdown);
                let trouble = Trouble::Unloadable(why.clone());
                self.narrow(Files::of(config.files), trouble.clone(), Some(&standing));
                tracing::error!(why, "not loaded again: what was loaded before still holds");
                self.tell_of_trouble(&trouble);
                return;
            }
        };
        self.say(&old, &config);
        self.tell(&old, &config);
        self.settled.lockdown.follow(&config.lockdown);
        replace_policies(&config, &servers);
        let policies: Vec<_> = config.policies().into_values().collect();
        (self.settled.follows)(&policies);
        let grants = old.grants.followed_by(&config.grants);
        old.grants.end_unless_in(&grants);
        config.access = config.access.listening_at(listen);
        self.run(Running::new(config, servers, grants, &old.everybodys));
        let new = self.running();
        for (name, everybody) in &old.everybodys {
            if !new.everybodys.contains_key(name) {
                everybody.life.end();
            }
        }
        // Those that have ended need not be remembered.
        while self.ending().try_join_next().is_some() {}
        for (name, server) in &old.servers {
            let other = new.servers.get(name);
            if other.is_none() {
                server.policies.replace(Table::default());
            }
            if !other.is_some_and(|other| server.goes_on_in(other)) {
                let gone = Arc::clone(server);
                self.ending().spawn(async move { gone.end().await });
            }
        }
    }

    /// Says what is wrong.
    fn keep(&self, unloadable: Unloadable) {
        let old = self.running();
        // Pages show it, too, and there without colours.
        let text = unloadable.report.text(false);
        let colours = diagnostics::colours(io::stderr().is_terminal());
        let said = unloadable.report.text(colours);
        let config = self.path.display();
        let trouble = match unloadable.is_unreadable() {
            true => Trouble::Unreadable(text),
            false => Trouble::Unloadable(text),
        };
        // Said once, and when it is so.
        let is_news = old.trouble.as_ref() != Some(&trouble);
        self.settled.lockdown.follow_too(&unloadable.lockdown);
        self.narrow(
            Files::of(unloadable.files),
            trouble.clone(),
            unloadable.standing.as_ref(),
        );
        if !is_news {
            return;
        }
        self.tell_of_trouble(&trouble);
        let _ = writeln!(io::stderr(), "{said}");
        match trouble {
            Trouble::Unloadable(_) => tracing::error!(
                %config,
                "not loaded again: what was loaded before still holds, except for tokens that are \
                 gone"
            ),
            Trouble::Unreadable(_) => {
                tracing::error!(%config, "cannot be read: nobody is let in until it can");
            }
        }
    }

    /// What was loaded before still holds, except for tokens that do not stand any more.
    fn narrow(&self, files: Files, trouble: Trouble, standing: Option<&Standing>) {
        let old = self.running();
        let mut running = old.troubled(files, trouble);
        if let Some(standing) = standing {
            let stands = |grant: &Grant| standing.contains(&(grant.token, grant.server.clone()));
            running.grants = old.grants.filtered(stands);
            old.grants.end_unless_in(&running.grants);
            let labels = running.grants.labels();
            for server in running.servers.values() {
                server.policies.retain(|label| labels.contains(label));
            }
        }
        self.run(running);
    }

    fn run(&self, running: Running) {
        let new = Arc::new(running);
        let mut held = write(&self.running);
        let old = std::mem::replace(&mut *held, new);
        drop(held);
        drop(old);
    }

    /// Tells operators what has changed.
    fn tell(&self, old: &Running, config: &Config) {
        let news = &self.settled.news;
        if old.trouble.is_some() {
            news.tell("The configuration loads again");
        }
        let servers = old.servers.keys().map(String::as_str).collect();
        let now = config.servers.keys().map(String::as_str).collect();
        tell_of("server", &servers, &now, news);
        let now = config.grants.iter().filter(|grant| !grant.is_revoked);
        let now = now.map(|grant| &*grant.label).collect();
        tell_of("grant", &old.grants.labels(), &now, news);
        news.policies_are(&config.policies());
    }

    fn tell_of_trouble(&self, trouble: &Trouble) {
        let text = match trouble {
            Trouble::Unloadable(_) => "The configuration does not load: the overview says why",
            Trouble::Unreadable(_) => {
                "The configuration cannot be read, so nobody is let in: the overview says why"
            }
        };
        self.settled.news.tell(text);
    }

    /// Says what has changed.
    fn say(&self, old: &Running, config: &Config) {
        for (path, policy) in config.policies() {
            if !old.files.get(path).is_some_and(Seen::is_current) {
                policy::warn(path, policy, self.settled.keeps);
                tracing::info!(policy = %path.display(), digest = policy.digest(), "loaded");
            }
        }
        if Start::of(config) != self.settled.start {
            tracing::warn!(
                "what changed of listen, admin, metrics, public_url, state, key_file, audit, \
                 audit_keep, webhook or the budgets holds when the proxy is started again"
            );
        }
        let added = config
            .servers
            .keys()
            .filter(|name| !old.servers.contains_key(*name));
        let removed = old
            .servers
            .keys()
            .filter(|name| !config.servers.contains_key(*name));
        tracing::info!(
            config = %self.path.display(),
            servers = config.servers.len(),
            grants = config.grants.len(),
            added = ?added.collect::<Vec<_>>(),
            removed = ?removed.collect::<Vec<_>>(),
            "loaded again"
        );
    }

    /// Looks for changes from time to time, and reads everything again when a SIGHUP
    /// comes, until the fleet is gone.
    pub(super) fn attend(fleet: &Arc<Self>) -> Result<(), Failure> {
        let mut hangups = Hangups::listen()
            .map_err(|error| Failure::start(format!("cannot listen to signals: {error}")))?;
        let fleet = Arc::downgrade(fleet);
        tokio::spawn(async move {
            let mut look = interval(LOOK);
            let mut announced = 0;
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let is_asked = tokio::select! {
                    _ = look.tick() => false,
                    () = hangups.next() => true,
                };
                let Some(fleet) = fleet.upgrade() else {
                    return;
                };
                if is_asked {
                    tracing::info!("asked by SIGHUP to read the configuration again");
                    fleet.reload_anyway().await;
                } else {
                    fleet.reload().await;
                }
                let changes = fleet.settled.lockdown.changes();
                if std::mem::replace(&mut announced, changes) != changes {
                    fleet
                        .settled
                        .news
                        .tell(&fleet.settled.lockdown.now().1.told());
                    for server in fleet.running().servers.values() {
                        server.policies.announce();
                    }
                }
            }
        });
        Ok(())
    }
}

/// Tells which of them are new, and which are gone.
fn tell_of(what: &str, old: &HashSet<&str>, new: &HashSet<&str>, news: &News) {
    let mut added: Vec<_> = new.difference(old).collect();
    let mut gone: Vec<_> = old.difference(new).collect();
    added.sort_unstable();
    gone.sort_unstable();
    for name in added {
        news.tell(&format!("The {what} {name} was added"));
    }
    for name in gone {
        news.tell(&format!("The {what} {name} is gone"));
    }
}

impl Running {
    /// The same, of which it is known that the configuration says something else now.
    fn troubled(&self, files: Files, trouble: Trouble) -> Self {
        Self {
            files,
            trouble: Some(trouble),
            ..self.clone()
        }
    }
}

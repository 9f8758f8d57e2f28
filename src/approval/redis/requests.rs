//! The requests of one server, and what is asked of the Redis server about them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use redis::{FromRedisValue, Script};
use tokio::sync::Notify;

use super::scripts::Scripts;
use crate::approval::ApprovalAsked;
use crate::approval::changes::ApprovalChanges;
use crate::approval::question::ApprovalQuestion;
use crate::approval::request::{ApprovalId, ApprovalRequest, ApprovalState};
use crate::clock::{Moment, since_1970};
use crate::digest::random_name;
use crate::lock::lock;
use crate::remote::{Link, SOMETHING_ELSE, short_digest};
use crate::store::StoreError;

/// How often it is tried again when a request has changed meanwhile. It cannot change
/// as often.
const TRIES: usize = 8;

/// Requests that are told at once: 4 MiB of arguments at most.
const PAGE: usize = 64;

const TOO_OFTEN: StoreError =
    StoreError::of("others have changed the request again and again meanwhile: try it once more");

/// What [`known`](super::scripts) tells of a request: its text, its arguments, whether it is
/// in force, and its number.
type Known = (String, Option<String>, u8, u64);

pub(super) struct Requests {
    /// What the names of all keys begin with.
    prefix: String,
    /// Tells what this store says from what others do.
    writer: String,
    pub(super) changes: ApprovalChanges,
    /// Told when somebody begins to listen where nobody did, and when this is dropped.
    pub(super) woken: Arc<Notify>,
    /// The last change that was heard of; `None` at the beginning.
    heard: Mutex<Option<u64>>,
    scripts: &'static Scripts,
}

/// A request as it is now, and how the server knows it.
struct Found {
    request: ApprovalRequest,
    text: String,
    state: ApprovalState,
    is_in_force: bool,
    number: u64,
}

/// How a request is looked for.
enum Which<'a> {
    Id(ApprovalId),
    /// The one in force for the same call.
    Call(&'a ApprovalQuestion),
}

impl Requests {
    pub(super) fn new(scripts: &'static Scripts, server: &str) -> Self {
        Self {
            // All is in one place, as one step can be about all of it.
            prefix: format!("mcp-policy:1:{{{}}}:a:", short_digest(server)),
            writer: random_name(),
            changes: ApprovalChanges::default(),
            woken: Arc::default(),
            heard: Mutex::default(),
            scripts,
        }
    }

    /// What is known of the call, or else it begins something, if there is room.
    pub(super) async fn ask(
        &self,
        link: &Link,
        question: &ApprovalQuestion,
    ) -> Result<ApprovalAsked, StoreError> {
        for _ in 0..TRIES {
            let (now, found) = self
                .find(link, Which::Call(question), question.at())
                .await?;
            let Some(found) = found else {
                let new = ApprovalRequest::begun(question, now)?;
                match self.begin(link, &new, question.at()).await? {
                    // Somebody else was faster.
                    0 => continue,
                    1 => {
                        self.changes.announce(new.id(), new.state());
                        return Ok(ApprovalAsked::Pending(new));
                    }
                    2 => return Ok(ApprovalAsked::Full),
                    _ => return Err(SOMETHING_ELSE),
                }
            };
            if is_in_force(&found.request, now) {
                return Ok(match found.request.state() {
                    ApprovalState::Pending => ApprovalAsked::Pending(found.request),
                    ApprovalState::Approved => ApprovalAsked::Approved(found.request),
                    // Nothing else is in force.
                    _ => ApprovalAsked::Denied(found.request),
                });
            }
            self.save(link, &found, now, question.at()).await?;
        }
        Err(TOO_OFTEN)
    }

    /// Does something to a request, if it is known. Also gives it as it is then.
    pub(super) async fn change<T>(
        &self,
        link: &Link,
        id: ApprovalId,
        at: Moment,
        change: impl Fn(&mut ApprovalRequest, SystemTime) -> T,
    ) -> Result<Option<(T, ApprovalRequest)>, StoreError> {
        for _ in 0..TRIES {
            let (now, found) = self.find(link, Which::Id(id), at).await?;
            let Some(mut found) = found else {
                return Ok(None);
            };
            let answer = change(&mut found.request, now);
            if self.save(link, &found, now, at).await? {
                return Ok(Some((answer, found.request)));
            }
        }
        Err(TOO_OFTEN)
    }

    pub(super) async fn get(
        &self,
        link: &Link,
        id: ApprovalId,
        at: Moment,
    ) -> Result<Option<ApprovalRequest>, StoreError> {
        let (_, found) = self.find(link, Which::Id(id), at).await?;
        Ok(found.map(|found| found.request))
    }

    /// Those in one of these states, the oldest first.
    pub(super) async fn list(
        &self,
        link: &Link,
        states: &[ApprovalState],
        at: Moment,
    ) -> Result<Vec<ApprovalRequest>, StoreError> {
        let words = states.iter().map(|state| state.as_str().to_owned());
        let ids: Vec<String> = self
            .invoke(link, &self.scripts.list, words.collect(), at)
            .await?;
        let mut found = Vec::with_capacity(ids.len());
        // Others need not wait until the server has told all of it.
        for ids in ids.chunks(PAGE) {
            let (_, page) = self.find_each(link, "id", ids.to_vec(), at).await?;
            found.extend(page.into_iter().flatten());
        }
        found.retain(|found| states.contains(&found.request.state()));
        found.sort_by_key(|found| found.number);
        Ok(found.into_iter().map(|found| found.request).collect())
    }

    /// Also tells what time it is.
    async fn find(
        &self,
        link: &Link,
        which: Which<'_>,
        at: Moment,
    ) -> Result<(SystemTime, Option<Found>), StoreError> {
        let (how, value) = match which {
            Which::Id(id) => ("id", id.to_string()),
            Which::Call(question) => ("digest", question.digest().to_string()),
        };
        let (now, found) = self.find_each(link, how, vec![value], at).await?;
        let found = found.into_iter().flatten().next();
        let is_meant = found.as_ref().is_none_or(|found| match which {
            Which::Id(id) => found.request.id() == id,
            Which::Call(question) => found.request.digest() == question.digest(),
        });
        match is_meant {
            true => Ok((now, found)),
            false => Err(SOMETHING_ELSE),
        }
    }

    async fn find_each(
        &self,
        link: &Link,
        how: &str,
        mut values: Vec<String>,
        at: Moment,
    ) -> Result<(SystemTime, Vec<Option<Found>>), StoreError> {
        values.insert(0, how.to_owned());
        let (now, known): (u64, Vec<Option<Known>>) =
            self.invoke(link, &self.scripts.find, values, at).await?;
        let now = time(now)?;
        let found = known
            .into_iter()
            .map(|known| known.map(|known| Found::of(known, now)).transpose());
        Ok((now, found.collect::<Result<_, _>>()?))
    }

    async fn begin(
        &self,
        link: &Link,
        new: &ApprovalRequest,
        at: Moment,
    ) -> Result<u8, StoreError> {
        let arguments = vec![
            new.id().to_string(),
            new.digest().to_string(),
            short_digest(new.caller()),
            new.stored()?,
            new.stored_shown()?.unwrap_or_default(),
            new.shown_bytes().to_string(),
            since_1970(new.expires_at()).to_string(),
        ];
        self.invoke(link, &self.scripts.begin, arguments, at).await
    }

    /// Has the server keep what has become of a request, if anything has. Tells whether it
    /// was as it was found until then.
    async fn save(
        &self,
        link: &Link,
        found: &Found,
        now: SystemTime,
        at: Moment,
    ) -> Result<bool, StoreError> {
        let request = &found.request;
        let is_in_force = found.is_in_force && is_in_force(request, now);
        if (request.state(), is_in_force) == (found.state, found.is_in_force) {
            return Ok(true);
        }
        let word = |is_so: bool| if is_so { "1" } else { "0" };
        let arguments = vec![
            request.id().to_string(),
            found.text.clone(),
            request.stored()?,
            request.state().as_str().to_owned(),
            since_1970(request.expires_at()).to_string(),
            word(is_in_force).to_owned(),
            word(request.state().is_open()).to_owned(),
        ];
        let is_saved: bool = self
            .invoke(link, &self.scripts.change, arguments, at)
            .await?;
        if is_saved {
            self.changes.announce(request.id(), request.state());
        }
        Ok(is_saved)
    }

    /// Announces what others changed.
    pub(super) async fn hear(&self, link: &Link) {
        // Whoever asks for something is told what is wrong.
        let _ = self.try_to_hear(link).await;
    }

    async fn try_to_hear(&self, link: &Link) -> Result<(), StoreError> {
        let before = *lock(&self.heard);
        let arguments = vec![before.unwrap_or_default().to_string()];
        // By hand it is a time at which nothing is over.
        let at = Moment {
            instant: std::time::Instant::now(),
            system: SystemTime::UNIX_EPOCH,
        };
        let (last, first, changes): (u64, u64, Vec<String>) =
            self.invoke(link, &self.scripts.hear, arguments, at).await?;
        *lock(&self.heard) = Some(last);
        let is_whole = before.is_some_and(|before| {
            before == last || (before < last && first != 0 && first <= before.saturating_add(1))
        });
        if !is_whole {
            self.changes.lose();
            return Ok(());
        }
        for change in &changes {
            let words: Vec<&str> = change.split(' ').collect();
            let &[_, writer, id, state] = &words[..] else {
                // What comes behind it was counted as heard.
                self.changes.lose();
                return Err(SOMETHING_ELSE);
            };
            if let (Ok(id), Ok(state)) = (id.parse(), state.parse()) {
                if writer != self.writer {
                    self.changes.announce(id, state);
                }
            }
        }
        Ok(())
    }

    async fn invoke<T: FromRedisValue>(
        &self,
        link: &Link,
        script: &'static Script,
        arguments: Vec<String>,
        #[cfg_attr(not(test), expect(unused_variables, reason = "the server has a clock"))]
        at: Moment,
    ) -> Result<T, StoreError> {
        let prefix = &self.prefix;
        let mut call = script.prepare_invoke();
        // It tells a cluster which of its nodes is meant.
        call.key(format!("{prefix}c"));
        call.arg(prefix).arg(&self.writer).arg(arguments);
        #[cfg(test)]
        if std::ptr::eq(self.scripts, &*super::scripts::BY_HAND) {
            call.arg(since_1970(at.system));
        }
        link.invoke(&call).await
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.woken.notify_one();
    }
}

impl Found {
    /// The request as it is now.
    fn of((text, shown, is_in_force, number): Known, now: SystemTime) -> Result<Self, StoreError> {
        let is_in_force = is_in_force == 1;
        let mut request = match is_in_force {
            true => ApprovalRequest::from_stored(&text, shown.as_deref())?,
            false => ApprovalRequest::from_stored_when_over(&text)?,
        };
        let state = request.state();
        if request.is_over(now) {
            request.expire();
        }
        Ok(Self {
            request,
            text,
            state,
            is_in_force,
            number,
        })
    }
}

fn is_in_force(request: &ApprovalRequest, now: SystemTime) -> bool {
    let may_be = request.state().is_open() || request.state() == ApprovalState::Denied;
    may_be && !request.is_over(now)
}

fn time(micros: u64) -> Result<SystemTime, StoreError> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .ok_or(SOMETHING_ELSE)
}

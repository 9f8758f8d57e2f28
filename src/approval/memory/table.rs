//! What a [`MemoryApprovalStore`](super::MemoryApprovalStore) knows, behind its lock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::approval::digest::CallDigest;
use crate::approval::request::{ApprovalId, ApprovalRequest, ApprovalState};
use crate::approval::{
    ApprovalAsked, HOUR, KNOWN_FOR, MOST_BYTES, MOST_ENDED, MOST_IN_FORCE,
    MOST_IN_FORCE_OF_A_CALLER, MOST_NEW_IN_AN_HOUR, MOST_NEW_OF_ALL, MOST_PENDING,
    MOST_PENDING_OF_A_CALLER,
};

/// All requests that are known.
///
/// One is in force while it is pending or approved, or denied and refuses the same
/// call. From then on it has ended.
#[derive(Default)]
pub(super) struct Table {
    entries: HashMap<ApprovalId, Entry>,
    /// Those in force.
    by_digest: HashMap<CallDigest, ApprovalId>,
    /// The same, by when their time is over.
    ends: BTreeSet<(Instant, ApprovalId)>,
    /// Those that have ended, and when: the first of them first.
    ended: VecDeque<(Instant, ApprovalId)>,
    /// Who has asked for something new in the last hour, and when: the first of them
    /// first.
    asked: VecDeque<(Instant, Arc<str>)>,
    callers: HashMap<Arc<str>, Caller>,
    /// How many are pending.
    pending: usize,
    /// Bytes of arguments.
    bytes: usize,
    /// How many there have been.
    count: u64,
    /// The latest reading of the clock. Requests do not come in the order in which
    /// they read it, but here it never goes back.
    now: Option<Instant>,
    changed: Vec<(ApprovalId, ApprovalState)>,
}

struct Entry {
    request: ApprovalRequest,
    /// Tells in which order they came.
    number: u64,
    ends: Instant,
}

/// How much there is of one caller.
#[derive(Default)]
struct Caller {
    in_force: usize,
    pending: usize,
    /// New in the last hour.
    asked: usize,
}

impl Table {
    /// What has changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> Vec<(ApprovalId, ApprovalState)> {
        std::mem::take(&mut self.changed)
    }

    /// Ends and forgets whatever has had its time, and tells what time it is.
    pub(super) fn pass_time(&mut self, reading: Instant) -> Instant {
        let now = self.now.map_or(reading, |latest| latest.max(reading));
        self.now = Some(now);
        while let Some((ends, id)) = self.ends.first().copied() {
            if ends > now {
                break;
            }
            self.ends.pop_first();
            let has_expired = self.change(id, now, ApprovalRequest::expire);
            if has_expired != Some(true) {
                self.end(id, now);
            }
        }
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        while self
            .ended
            .front()
            .is_some_and(|(at, _)| is_over(*at, KNOWN_FOR))
        {
            self.forget_first();
        }
        while self.asked.front().is_some_and(|(at, _)| is_over(*at, HOUR)) {
            if let Some((_, caller)) = self.asked.pop_front() {
                self.of_caller(&caller, |caller| {
                    caller.asked = caller.asked.saturating_sub(1)
                });
            }
        }
        now
    }

    /// What is known of the call, or else this, if there is room.
    pub(super) fn ask(&mut self, new: ApprovalRequest, now: Instant) -> ApprovalAsked {
        let known = self.by_digest.get(new.digest());
        if let Some(request) = known.and_then(|id| self.get(*id)) {
            let request = request.clone();
            return match request.state() {
                ApprovalState::Pending => ApprovalAsked::Pending(request),
                ApprovalState::Approved => ApprovalAsked::Approved(request),
                // Nothing else is in force.
                _ => ApprovalAsked::Denied(request),
            };
        }
        if !self.has_room_for(&new) {
            return ApprovalAsked::Full;
        }
        self.begin(new.clone(), now);
        ApprovalAsked::Pending(new)
    }

    /// Does something to a request, if it is known, and accounts for what has become
    /// of it.
    pub(super) fn change<T>(
        &mut self,
        id: ApprovalId,
        now: Instant,
        change: impl FnOnce(&mut ApprovalRequest) -> T,
    ) -> Option<T> {
        let entry = self.entries.get_mut(&id)?;
        let (before, bytes) = (entry.request.state(), entry.request.shown_bytes());
        let answer = change(&mut entry.request);
        let state = entry.request.state();
        if state == before {
            return Some(answer);
        }
        self.changed.push((id, state));
        self.bytes = self
            .bytes
            .saturating_sub(bytes.saturating_sub(entry.request.shown_bytes()));
        let caller = Arc::clone(entry.request.shared_caller());
        match state {
            ApprovalState::Approved | ApprovalState::Denied => {
                self.ends.remove(&(entry.ends, id));
                entry.ends = later(now, entry.request.expires());
                self.ends.insert((entry.ends, id));
            }
            _ => self.end(id, now),
        }
        if before == ApprovalState::Pending {
            self.pending = self.pending.saturating_sub(1);
            self.of_caller(&caller, |caller| {
                caller.pending = caller.pending.saturating_sub(1);
            });
        }
        Some(answer)
    }

    pub(super) fn get(&self, id: ApprovalId) -> Option<&ApprovalRequest> {
        self.entries.get(&id).map(|entry| &entry.request)
    }

    pub(super) fn list(&self, states: &[ApprovalState]) -> Vec<ApprovalRequest> {
        let entries = self.entries.values();
        let mut meant: Vec<&Entry> = entries
            .filter(|entry| states.contains(&entry.request.state()))
            .collect();
        meant.sort_unstable_by_key(|entry| entry.number);
        meant
            .into_iter()
            .map(|entry| entry.request.clone())
            .collect()
    }

    fn has_room_for(&self, new: &ApprovalRequest) -> bool {
        let of_caller = self.callers.get(new.caller());
        of_caller.is_none_or(|caller| {
            caller.pending < MOST_PENDING_OF_A_CALLER
                && caller.asked < MOST_NEW_IN_AN_HOUR
                && caller.in_force < MOST_IN_FORCE_OF_A_CALLER
        }) && self.pending < MOST_PENDING
            && self.asked.len() < MOST_NEW_OF_ALL
            && self.by_digest.len() < MOST_IN_FORCE
            && self.bytes.saturating_add(new.shown_bytes()) <= MOST_BYTES
    }

    fn begin(&mut self, request: ApprovalRequest, now: Instant) {
        let (id, caller) = (request.id(), Arc::clone(request.shared_caller()));
        let ends = later(now, request.expires());
        self.changed.push((id, request.state()));
        self.bytes = self.bytes.saturating_add(request.shown_bytes());
        self.pending = self.pending.saturating_add(1);
        self.ends.insert((ends, id));
        self.by_digest.insert(*request.digest(), id);
        let entry = Entry {
            request,
            number: self.count,
            ends,
        };
        self.count = self.count.saturating_add(1);
        self.entries.insert(id, entry);
        self.asked.push_back((now, Arc::clone(&caller)));
        self.of_caller(&caller, |caller| {
            caller.in_force = caller.in_force.saturating_add(1);
            caller.pending = caller.pending.saturating_add(1);
            caller.asked = caller.asked.saturating_add(1);
        });
    }

    /// What was in force is not any more.
    fn end(&mut self, id: ApprovalId, now: Instant) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        self.ends.remove(&(entry.ends, id));
        self.by_digest.remove(entry.request.digest());
        let caller = Arc::clone(entry.request.shared_caller());
        self.of_caller(&caller, |caller| {
            caller.in_force = caller.in_force.saturating_sub(1);
        });
        if self.ended.len() >= MOST_ENDED {
            self.forget_first();
        }
        self.ended.push_back((now, id));
    }

    /// Forgets what has ended first.
    fn forget_first(&mut self) {
        if let Some((_, id)) = self.ended.pop_front() {
            self.entries.remove(&id);
        }
    }

    /// Changes how much there is of a caller, who is forgotten when there is nothing.
    fn of_caller(&mut self, caller: &Arc<str>, change: impl FnOnce(&mut Caller)) {
        let of_caller = self.callers.entry(Arc::clone(caller)).or_default();
        change(of_caller);
        if of_caller.in_force == 0 && of_caller.asked == 0 {
            self.callers.remove(caller);
        }
    }
}

/// If there is no such time, it is over at once.
fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
}

#[cfg(test)]
mod tests;

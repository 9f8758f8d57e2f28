//! What this process has under way, which has to be said again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use smallvec::SmallVec;

use super::part::Part;
use super::scripts::Scripts;
use crate::audit::DecisionId;
use crate::limit::LimitReservation;
use crate::lock::lock;
use crate::policy::Period;
use crate::remote::Link;

/// The reservations of this process that count for as long as they are under way.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<DecisionId, SmallVec<[Part; 2]>>>>);

impl UnderWay {
    pub(super) fn begin<'a>(
        &self,
        reservation: &LimitReservation,
        parts: impl Iterator<Item = &'a Part>,
    ) {
        let counts = |part: &&Part| {
            let charges = reservation.charges();
            let mut charges = part.places.iter().filter_map(|place| charges.get(*place));
            charges.any(|charge| charge.quota().period() == Period::Concurrent)
        };
        let parts: SmallVec<[Part; 2]> = parts.filter(counts).cloned().collect();
        if !parts.is_empty() {
            self.lock().insert(reservation.id(), parts);
        }
    }

    pub(super) fn end(&self, id: DecisionId) {
        self.lock().remove(&id);
    }

    /// Says of all of them that they are under way. Once there is no connection, the
    /// rest has to wait for the next time.
    pub(super) async fn renew(self, scripts: &'static Scripts, link: Link) {
        let ids: Vec<DecisionId> = self.lock().keys().copied().collect();
        for id in ids {
            let parts = self.lock().get(&id).cloned().unwrap_or_default();
            for part in parts {
                let renewed = link.invoke::<()>(&part.call(&scripts.renew)).await;
                if renewed.is_err() && link.check().is_err() {
                    return;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DecisionId, SmallVec<[Part; 2]>>> {
        lock(&self.0)
    }
}

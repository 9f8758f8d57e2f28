//! Where those are who wait for the same thing, each in a place of its own.

/// Places, of which a new one is made for whoever comes.
///
/// Nobody may come any more once [`take_those`](Self::take_those) was called: a place that it has
/// emptied may become that of another while its owner still knows it.
pub(crate) struct Places<T> {
    /// Empty for those who need not be woken any more.
    all: Vec<Option<T>>,
    /// How many are not empty: everybody who is woken may ask whether others are to be.
    occupied: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            occupied: 0,
        }
    }
}

impl<T> Places<T> {
    /// Lets somebody wait in its place, or in a new one if it has none, unless it is known to wait
    /// there. Gives the place, which is its own from now on, and who was there before.
    pub(crate) fn wait(
        &mut self,
        place: Option<usize>,
        is_known: impl FnOnce(&T) -> bool,
        waiting: impl FnOnce() -> T,
    ) -> (usize, Option<T>) {
        let index = place.unwrap_or_else(|| self.next());
        let before = match self.get(index) {
            Some(known) if is_known(known) => None,
            _ => self.put(index, waiting()),
        };
        (index, before)
    }

    /// The place of whoever comes next.
    fn next(&self) -> usize {
        self.all.len()
    }

    fn get(&self, index: usize) -> Option<&T> {
        self.all.get(index).and_then(Option::as_ref)
    }

    /// Puts somebody there, or into a new place if there is none, and gives who was there.
    fn put(&mut self, index: usize, waiting: T) -> Option<T> {
        let before = match self.all.get_mut(index) {
            Some(place) => place.replace(waiting),
            None => {
                self.all.push(Some(waiting));
                None
            }
        };
        if before.is_none() {
            self.occupied = self.occupied.saturating_add(1);
        }
        before
    }

    /// Empties the place of somebody who does not wait any more. It may become that of another.
    pub(crate) fn take(&mut self, index: usize) -> Option<T> {
        let left = self.all.get_mut(index).and_then(Option::take);
        self.occupied = self.occupied.saturating_sub(usize::from(left.is_some()));
        // Those who came last mostly go last; others leave room until then.
        while self.all.last().is_some_and(Option::is_none) {
            self.all.pop();
        }
        left
    }

    /// Empties the places of some, for good.
    pub(crate) fn take_those(&mut self, mut are_taken: impl FnMut(&T) -> bool) -> Vec<T> {
        if self.occupied == 0 {
            return Vec::new();
        }
        let places = self.all.iter_mut();
        let taken: Vec<_> = places
            .filter_map(|place| place.take_if(|waiting| are_taken(waiting)))
            .collect();
        self.occupied = self.occupied.saturating_sub(taken.len());
        taken
    }

    /// How many are not empty.
    #[cfg(test)]
    pub(crate) fn occupied(&self) -> usize {
        let found = self.all.iter().flatten().count();
        assert_eq!(self.occupied, found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_once_nobody_behind_them_waits() {
        let mut places = Places::default();
        for index in 0..3 {
            assert_eq!(places.next(), index);
            assert_eq!(places.put(index, index), None);
        }
        assert_eq!(places.put(1, 7), Some(1));
        assert_eq!((places.take(1), places.take(1)), (Some(7), None));
        // Somebody is still behind it.
        assert_eq!(
            (places.next(), places.get(1), places.get(2)),
            (3, None, Some(&2))
        );
        assert_eq!((places.take(2), places.next()), (Some(2), 1));
        assert!(places.take_those(|one| *one > 0).is_empty());
        assert_eq!(places.take_those(|_| true), [0]);
        assert_eq!((places.take(0), places.next()), (None, 0));
    }
}

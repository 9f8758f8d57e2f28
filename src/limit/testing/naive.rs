//! A log of everything that was charged, which is asked from its beginning each
//! time.

/// What was charged to one budget with a rolling window. Times and windows are in
/// microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) window: u64,
    /// When, and how much.
    log: Vec<(u64, u64)>,
    /// How often something was charged, given back or not.
    charges: usize,
}

impl Naive {
    pub(crate) fn new(window: u64) -> Self {
        Self {
            window,
            log: Vec::new(),
            charges: 0,
        }
    }

    pub(crate) fn charge(&mut self, now: u64, amount: u64) {
        self.log.push((now, amount));
        self.charges += 1;
    }

    pub(crate) fn give_back(&mut self, at: u64, amount: u64) {
        let place = self.log.iter().position(|entry| *entry == (at, amount));
        self.log.remove(place.unwrap());
    }

    /// What is in the window that ends now, if everything stays for `longer`.
    pub(crate) fn used(&self, now: u64, longer: u64) -> u64 {
        let is_in = |time: &u64| time + self.window + longer > now;
        let entries = self.log.iter().filter(|(time, _)| is_in(time));
        entries.map(|(_, amount)| amount).sum()
    }

    pub(crate) fn admits(&self, now: u64, amount: u64, max: u64) -> bool {
        self.used(now, 0) + amount <= max
    }

    /// Whether it may be refused: whether it is too much if everything stays for a
    /// 32nd part of the window longer.
    pub(crate) fn may_refuse(&self, now: u64, amount: u64, max: u64) -> bool {
        self.used(now, self.window / 32) + amount > max
    }

    /// Whether there were so few charges that a store must not differ at all.
    pub(crate) fn is_exact(&self) -> bool {
        self.charges <= 32
    }

    /// The most that any interval of the length of the window holds.
    pub(crate) fn fullest(&self) -> u64 {
        let ends = self.log.iter().map(|(time, _)| {
            let entries = self.log.iter();
            let is_in = |other: &u64| other <= time && time - other < self.window;
            entries
                .filter(|(other, _)| is_in(other))
                .map(|(_, amount)| amount)
                .sum()
        });
        ends.max().unwrap_or(0)
    }
}

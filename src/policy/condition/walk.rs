//! One walk over the text of a root, for all conditions that look into it.

use std::ops::Range;

use smallvec::SmallVec;

use super::keys::Seen;
use super::path::{Root, RootSet};
use super::plan::{Condition, Node, Plan};
use super::truth::Truth;
use super::wanted::Scalar;
use crate::json::{Error, Kind, Profile, Reader, Utf8};

/// The truth of every condition of a plan, in the order in which it was given
/// them.
pub(in crate::policy) type Truths = SmallVec<[Truth; 8]>;

/// The JSON text of each root, which is an object. One that is not, or that is
/// not known, is undecidable everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy) struct Roots<'a> {
    /// Absent and `null` are an empty object.
    pub(in crate::policy) args: Option<&'a [u8]>,
    /// Where values stand in these that need not be read again.
    pub(in crate::policy) long_args: &'a [Range<usize>],
    pub(in crate::policy) resource: Option<&'a [u8]>,
    pub(in crate::policy) caller: Option<&'a [u8]>,
    pub(in crate::policy) tool: Option<&'a [u8]>,
    pub(in crate::policy) client: Option<&'a [u8]>,
}

impl<'a> Roots<'a> {
    /// The text of a root; nothing if it is not known.
    pub(in crate::policy) fn text(&self, root: Root) -> Option<&'a [u8]> {
        match root {
            Root::Args => Some(self.args.filter(|args| *args != b"null").unwrap_or(b"{}")),
            Root::Resource => self.resource,
            Root::Caller => self.caller,
            Root::Tool => self.tool,
            Root::Client => self.client,
        }
    }

    /// Where values stand in the text of a root that need not be read again.
    pub(in crate::policy) fn long_values(&self, root: Root) -> &'a [Range<usize>] {
        match root {
            Root::Args => self.long_args,
            _ => &[],
        }
    }
}

/// Evaluates several plans in one walk over each root.
pub(in crate::policy) fn evaluate(plans: &[&Plan], roots: &Roots<'_>) -> SmallVec<[Truths; 2]> {
    let total = plans.iter().map(|plan| plan.len()).sum();
    if total == 0 {
        return plans.iter().map(|_| Truths::new()).collect();
    }
    let mut walk = Walk {
        truths: SmallVec::from_elem(None, total),
        saved: SmallVec::new(),
    };
    let looked_at = plans
        .iter()
        .fold(RootSet::NONE, |roots, plan| roots.and(plan.looks_at()));
    for root in looked_at.iter() {
        let mut cursors: Cursors<'_> = SmallVec::new();
        let mut base = 0;
        for plan in plans {
            if let Some(node) = plan.root(root) {
                let conditions = plan.conditions();
                cursors.push(Cursor {
                    node,
                    conditions,
                    base,
                });
            }
            base += plan.len();
        }
        walk.root(roots, root, &cursors);
    }
    walk.results(plans)
}

/// A place of one plan at which the walk stands.
#[derive(Clone, Copy, Debug)]
struct Cursor<'p> {
    node: &'p Node,
    conditions: &'p [Condition],
    /// Where the truths of this plan begin.
    base: usize,
}

type Cursors<'p> = SmallVec<[Cursor<'p>; 4]>;

impl<'p> Cursor<'p> {
    fn at(&self, node: &'p Node) -> Self {
        Self { node, ..*self }
    }

    /// The conditions in a range, each with the place of its truth.
    fn conditions(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &'p Condition)> {
        let base = self.base;
        let conditions = self.conditions.get(range.clone()).unwrap_or_default();
        range
            .zip(conditions)
            .map(move |(at, condition)| (base.saturating_add(at), condition))
    }

    /// Where the truths of all conditions from here on stand.
    fn places(&self) -> Range<usize> {
        let all = self.node.all();
        self.base.saturating_add(all.start)..self.base.saturating_add(all.end)
    }
}

/// What is known of a member that is looked for in an object.
#[derive(Clone, Copy)]
enum State {
    Missing,
    /// It was met; and where the truths from before that are saved.
    Met(usize),
    /// There is a name that looks like it.
    Ambiguous,
}

struct Walk {
    /// Nothing where no value was met so far.
    truths: SmallVec<[Option<Truth>; 16]>,
    /// A stack of truths to go back to.
    saved: SmallVec<[Option<Truth>; 16]>,
}

impl Walk {
    fn root(&mut self, roots: &Roots<'_>, root: Root, cursors: &[Cursor<'_>]) {
        let mut read = |text| {
            let mut reader = Reader::of(Utf8::new(text)?, Profile::JUDGED);
            reader.go_past(roots.long_values(root));
            let is_object = reader.kind()? == Kind::Object;
            self.value(&mut reader, cursors)?;
            reader.finish().map(|()| is_object)
        };
        let read = roots.text(root).map(&mut read);
        if !matches!(read, Some(Ok(true))) {
            for cursor in cursors {
                for truth in self.truths.get_mut(cursor.places()).unwrap_or_default() {
                    *truth = Some(Truth::Undecidable);
                }
            }
        }
    }

    /// Reads one value. Recursion is bounded by the length of a path.
    fn value(&mut self, reader: &mut Reader<'_>, cursors: &[Cursor<'_>]) -> Result<(), Error> {
        match reader.kind()? {
            kind @ (Kind::Array | Kind::Object) => {
                for cursor in cursors {
                    for (place, condition) in cursor.conditions(cursor.node.here.clone()) {
                        let truth = condition.test.of_container(reader.fork(), kind)?;
                        self.meet(place, condition, truth);
                    }
                }
                if kind == Kind::Object {
                    self.object(reader, cursors)
                } else {
                    self.array(reader, cursors)
                }
            }
            kind => Scalar::read(reader, kind, |found| {
                for cursor in cursors {
                    for (place, condition) in cursor.conditions(cursor.node.here.clone()) {
                        self.meet(place, condition, condition.test.of_scalar(found));
                    }
                    self.undecidable(cursor, cursor.node.beyond.clone());
                }
            }),
        }
    }

    fn object(&mut self, reader: &mut Reader<'_>, cursors: &[Cursor<'_>]) -> Result<(), Error> {
        let mut fields = 0_usize;
        for cursor in cursors {
            self.undecidable_items(cursor);
            fields = fields.saturating_add(cursor.node.fields.len());
        }
        if fields == 0 {
            return reader.skip().map(drop);
        }
        // One for each field of each cursor, in their order.
        let mut states: SmallVec<[State; 8]> = SmallVec::new();
        states.resize(fields, State::Missing);
        let saved = self.saved.len();
        reader.object(|reader, key| {
            let key = reader.decode(key);
            let key = Seen::new(&key);
            let mut fields = cursors.iter().map(|cursor| &cursor.node.fields);
            // Most members are not looked for.
            if fields.all(|fields| fields.alike(&key).is_empty()) {
                reader.skip().map(drop)
            } else {
                self.member(&key, reader, cursors, &mut states)
            }
        })?;
        let mut states = states.iter();
        for cursor in cursors {
            for (node, state) in cursor.node.fields.values().zip(&mut states) {
                match state {
                    State::Missing => self.missing(&cursor.at(node)),
                    State::Met(_) => {}
                    State::Ambiguous => self.undecidable(cursor, node.all()),
                }
            }
        }
        self.saved.truncate(saved);
        Ok(())
    }

    /// Reads the value of a member that is looked for, or looks like one that is.
    #[inline(never)]
    fn member(
        &mut self,
        key: &Seen<'_>,
        reader: &mut Reader<'_>,
        cursors: &[Cursor<'_>],
        states: &mut [State],
    ) -> Result<(), Error> {
        let next = self.key(key, cursors, states);
        if next.is_empty() {
            reader.skip().map(drop)
        } else {
            self.value(reader, &next)
        }
    }

    /// Where the walk goes on behind a key.
    fn key<'p>(
        &mut self,
        key: &Seen<'_>,
        cursors: &[Cursor<'p>],
        states: &mut [State],
    ) -> Cursors<'p> {
        let mut next = Cursors::new();
        let mut first = 0_usize;
        for cursor in cursors {
            let fields = &cursor.node.fields;
            for at in fields.alike(key) {
                let state = states.get_mut(first.saturating_add(at));
                let (Some(state), Some(node)) = (state, fields.value(at)) else {
                    continue;
                };
                let cursor = cursor.at(node);
                match *state {
                    State::Missing if fields.is_exactly(at, key) => {
                        *state = State::Met(self.save(&cursor));
                        next.push(cursor);
                    }
                    State::Met(saved) => {
                        self.restore(&cursor, saved);
                        *state = State::Ambiguous;
                    }
                    State::Missing | State::Ambiguous => *state = State::Ambiguous,
                }
            }
            first = first.saturating_add(fields.len());
        }
        next
    }

    fn array(&mut self, reader: &mut Reader<'_>, cursors: &[Cursor<'_>]) -> Result<(), Error> {
        let mut looks_into = false;
        for cursor in cursors {
            for node in cursor.node.fields.values() {
                self.undecidable(cursor, node.all());
            }
            looks_into |= cursor.node.each.is_some() || !cursor.node.items.is_empty();
        }
        if !looks_into {
            return reader.skip().map(drop);
        }
        let mut length = 0_usize;
        reader.array(|reader| {
            let mut next: Cursors<'_> = SmallVec::new();
            for cursor in cursors {
                let each = cursor.node.each.as_deref();
                let items = &cursor.node.items;
                let item = items
                    .binary_search_by_key(&length, |(index, _)| *index)
                    .ok();
                let item = item.and_then(|at| items.get(at)).map(|(_, node)| node);
                next.extend(each.into_iter().chain(item).map(|node| cursor.at(node)));
            }
            length = length.saturating_add(1);
            if next.is_empty() {
                reader.skip().map(drop)
            } else {
                self.value(reader, &next)
            }
        })?;
        for cursor in cursors {
            for (index, node) in &cursor.node.items {
                if *index >= length {
                    self.missing(&cursor.at(node));
                }
            }
        }
        Ok(())
    }

    /// An object is no list.
    fn undecidable_items(&mut self, cursor: &Cursor<'_>) {
        let items = cursor.node.items.iter().map(|(_, node)| node);
        for node in items.chain(cursor.node.each.as_deref()) {
            self.undecidable(cursor, node.all());
        }
    }

    fn undecidable(&mut self, cursor: &Cursor<'_>, range: Range<usize>) {
        for (place, condition) in cursor.conditions(range) {
            self.meet(place, condition, Truth::Undecidable);
        }
    }

    fn missing(&mut self, cursor: &Cursor<'_>) {
        for (place, condition) in cursor.conditions(cursor.node.all()) {
            let truth = condition.test.of_nothing(condition.usage);
            self.meet(place, condition, truth);
        }
    }

    fn meet(&mut self, place: usize, condition: &Condition, truth: Truth) {
        if let Some(so_far) = self.truths.get_mut(place) {
            let before = so_far.unwrap_or(condition.usage.of_none());
            *so_far = Some(condition.usage.combine(before, truth));
        }
    }

    fn save(&mut self, cursor: &Cursor<'_>) -> usize {
        let saved = self.saved.len();
        let truths = self.truths.get(cursor.places()).unwrap_or_default();
        self.saved.extend_from_slice(truths);
        saved
    }

    fn restore(&mut self, cursor: &Cursor<'_>, saved: usize) {
        let truths = self.truths.get_mut(cursor.places()).unwrap_or_default();
        let before = self.saved.get(saved..).unwrap_or_default();
        for (truth, before) in truths.iter_mut().zip(before) {
            *truth = *before;
        }
    }

    fn results(&self, plans: &[&Plan]) -> SmallVec<[Truths; 2]> {
        let mut rest = self.truths.as_slice();
        plans
            .iter()
            .map(|plan| {
                let mut results = Truths::from_elem(Truth::Undecidable, plan.len());
                for (condition, truth) in plan.conditions().iter().zip(rest) {
                    let of_none = condition.quantified.then(|| condition.usage.of_none());
                    if let Some(result) = results.get_mut(condition.index) {
                        *result = truth.or(of_none).unwrap_or(Truth::Undecidable);
                    }
                }
                rest = rest.get(plan.len()..).unwrap_or_default();
                results
            })
            .collect()
    }
}

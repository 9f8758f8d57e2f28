//! The conditions of one rule as a tree of their paths.

use std::ops::Range;

use super::keys::Keys;
use super::path::{Path, Root, RootSet, Step};
use super::purpose::Use;
use super::test::Test;

/// All conditions of one rule.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Plan {
    /// In the order of their paths, so that those behind one place stand
    /// together.
    conditions: Vec<Condition>,
    roots: [Option<Node>; Root::ALL.len()],
    looks_at: RootSet,
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) test: Test,
    pub(super) usage: Use,
    /// Its path may lead to no value, without being missing.
    pub(super) quantified: bool,
    /// Its place among the conditions of the rule.
    pub(super) index: usize,
}

/// A place that paths lead to or through.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The conditions whose paths end here.
    pub(super) here: Range<usize>,
    /// Those whose paths go on.
    pub(super) beyond: Range<usize>,
    pub(super) fields: Keys<Node>,
    /// In ascending order.
    pub(super) items: Vec<(usize, Node)>,
    pub(super) each: Option<Box<Node>>,
}

impl Node {
    /// The conditions whose paths end here or go on from here.
    pub(super) fn all(&self) -> Range<usize> {
        self.here.start..self.beyond.end
    }
}

impl Plan {
    pub(in crate::policy) fn new(conditions: Vec<(Path, Test, Use)>) -> Self {
        let mut sorted: Vec<_> = conditions.into_iter().enumerate().collect();
        sorted.sort_by(|(_, (one, ..)), (_, (other, ..))| {
            (one.root(), one.steps()).cmp(&(other.root(), other.steps()))
        });
        let paths: Vec<&Path> = sorted.iter().map(|(_, (path, ..))| path).collect();
        let roots = Root::ALL.map(|root| {
            let start = paths.partition_point(|path| path.root() < root);
            let end = paths.partition_point(|path| path.root() <= root);
            (start < end).then(|| node(&paths, start..end, 0))
        });
        let conditions = sorted
            .into_iter()
            .map(|(index, (path, test, usage))| Condition {
                quantified: path.has_each(),
                test,
                usage,
                index,
            })
            .collect();
        let used = Root::ALL.into_iter().zip(&roots);
        let looks_at = RootSet::of(used.filter_map(|(root, node)| node.as_ref().map(|_| root)));
        Self {
            conditions,
            roots,
            looks_at,
        }
    }

    /// How many conditions there are.
    pub(in crate::policy) fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Where its conditions look.
    pub(in crate::policy) fn looks_at(&self) -> RootSet {
        self.looks_at
    }

    pub(super) fn root(&self, root: Root) -> Option<&Node> {
        self.roots.get(root as usize)?.as_ref()
    }

    pub(super) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// The place that all these paths have in common after so many steps. Recursion
/// is bounded by the length of a path.
fn node(paths: &[&Path], range: Range<usize>, depth: usize) -> Node {
    let step = |at: usize| paths.get(at).and_then(|path| path.steps().get(depth));
    // A path that ends here stands before all that go on.
    let mut start = range.start;
    while start < range.end && step(start).is_none() {
        start += 1;
    }
    let mut fields = Vec::new();
    let mut node_here = Node {
        here: range.start..start,
        beyond: start..range.end,
        fields: Keys::new([]),
        items: Vec::new(),
        each: None,
    };
    while let Some(first) = step(start).filter(|_| start < range.end) {
        let mut end = start;
        while end < range.end && step(end) == Some(first) {
            end += 1;
        }
        let next = node(paths, start..end, depth.saturating_add(1));
        match first {
            Step::Field(name) => fields.push((name.clone(), next)),
            Step::Index(index) => node_here.items.push((*index, next)),
            Step::Each => node_here.each = Some(Box::new(next)),
        }
        start = end;
    }
    node_here.fields = Keys::new(fields);
    node_here
}

//! Where lists stand in an answer, and what has to go out of them.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::caching::Caching;
use super::entry::{Entry, entry_name, member_text, task_of, text};
use super::members::Members;
use super::{Answer, List, NewTask, Unreadable, Visibility};
use crate::json::{Edit, Kind, Reader};
use crate::mcp::key::{self, Beginnings};

/// The member that holds a list, and the member of an entry that names it.
const LISTS: [(&str, List, &str); 4] = [
    ("tools", List::Tools, "name"),
    ("prompts", List::Prompts, "name"),
    ("resources", List::Resources, "uri"),
    ("resourceTemplates", List::ResourceTemplates, "uriTemplate"),
];

/// The notifications that tell of a task, its result included.
const TASK_NOTIFICATIONS: [&str; 2] = ["notifications/tasks", "notifications/tasks/status"];

/// The member of the answers to `initialize` and `server/discover` that holds
/// text for models. It is taken out of every result.
const INSTRUCTIONS: &str = "instructions";

/// The members on which all readers must agree: the lists themselves, and what decides
/// where a list stands and for how long it is kept.
const DECISIVE: [&str; 9] = [
    "tools",
    "prompts",
    "resources",
    "resourceTemplates",
    INSTRUCTIONS,
    "result",
    "params",
    "cacheScope",
    "ttlMs",
];

/// How these begin.
static BEGINNINGS: Beginnings<{ DECISIVE.len() }> = Beginnings::of(DECISIVE);

/// Some of [`DECISIVE`], a bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Decisive(u16);

impl Decisive {
    const NONE: Self = Self(0);
    const INSTRUCTIONS: Self = Self(1 << LISTS.len());
    /// Those that are not a list and no text.
    const OTHERS: Self = Self(0b1111 << (LISTS.len() + 1));

    fn of_list(index: usize) -> Self {
        Self(1 << index)
    }

    /// The one of this name.
    #[inline(always)]
    fn named(name: &str) -> Self {
        let index = match name {
            "tools" => 0,
            "prompts" => 1,
            "resources" => 2,
            "resourceTemplates" => 3,
            INSTRUCTIONS => 4,
            "result" => 5,
            "params" => 6,
            "cacheScope" => 7,
            "ttlMs" => 8,
            _ => return Self::NONE,
        };
        Self(1 << index)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Their names.
    fn names(self) -> SmallVec<[&'static str; DECISIVE.len()]> {
        let names = DECISIVE.iter().copied().enumerate();
        let is_one = |index: usize| self.0 & 1 << index != 0;
        names
            .filter_map(|(index, name)| is_one(index).then_some(name))
            .collect()
    }
}

/// How deep a result may stand in another: a task's answer holds the answer of
/// the call that it was made for.
const NESTED_RESULTS: u32 = 2;

pub(super) struct Scan<'v, 'a> {
    visibility: &'v dyn Visibility,
    /// The members on which all readers must agree; none if nothing can be
    /// hidden.
    decisive: Decisive,
    pub(super) edits: Vec<Edit>,
    pub(super) answers: SmallVec<[Answer<'a>; 1]>,
    pub(super) tells_unasked: bool,
    pub(super) is_foreign: bool,
}

/// What a result has told so far.
#[derive(Default)]
struct Told<'a> {
    /// Which decisive members it has shown.
    seen: Decisive,
    caching: Caching,
    /// Whether there is a list in it.
    is_cut: bool,
    task: Option<Cow<'a, str>>,
    asked_for: Option<Cow<'a, str>>,
    is_task: bool,
}

impl<'v, 'a> Scan<'v, 'a> {
    pub(super) fn new(visibility: &'v dyn Visibility) -> Self {
        let mut decisive = Decisive::NONE;
        for (index, (_, list, _)) in LISTS.iter().enumerate() {
            if visibility.may_hide(*list) {
                decisive.add(Decisive::of_list(index));
            }
        }
        if visibility.judges_instructions() {
            decisive.add(Decisive::INSTRUCTIONS);
        }
        if decisive != Decisive::NONE {
            decisive.add(Decisive::OTHERS);
        }
        Self {
            visibility,
            decisive,
            edits: Vec::new(),
            answers: SmallVec::new(),
            tells_unasked: false,
            is_foreign: false,
        }
    }

    /// One message, or several at once.
    pub(super) fn messages(&mut self, reader: &mut Reader<'a>) -> Result<(), Unreadable> {
        match reader.kind()? {
            Kind::Array => self.batch(reader),
            _ => self.message(reader),
        }
    }
    /// Several messages at once. Those that are not for the caller are cut out, and the
    /// others stay as they are.
    fn batch(&mut self, reader: &mut Reader<'a>) -> Result<(), Unreadable> {
        let (mut has_foreign, mut has_others) = (false, false);
        self.entries(reader, |scan, reader| {
            let edits = scan.edits.len();
            scan.message(reader)?;
            let is_foreign = std::mem::take(&mut scan.is_foreign);
            if is_foreign {
                // What is cut out is not edited as well.
                scan.edits.truncate(edits);
            }
            has_foreign |= is_foreign;
            has_others |= !is_foreign;
            Ok(!is_foreign)
        })?;
        self.is_foreign = has_foreign && !has_others;
        Ok(())
    }

    /// One message: a result can stand in it directly, or in the parameters of
    /// a notification about a task.
    fn message(&mut self, reader: &mut Reader<'a>) -> Result<(), Unreadable> {
        if !self.is_object(reader)? {
            self.note_unasked();
            return Ok(());
        }
        let mut seen = Decisive::NONE;
        let (mut id, mut task, mut is_answer) = (None, None, false);
        let (mut method, mut about) = (None, None);
        reader.members(|reader, key| {
            match key {
                "result" => {
                    self.once(&mut seen, key)?;
                    is_answer = true;
                    task = self.result(reader, NESTED_RESULTS)?;
                }
                "params" => {
                    self.once(&mut seen, key)?;
                    about = self.params(reader)?;
                }
                "id" => {
                    let span = reader.skip()?;
                    id = Some(reader.raw(&span));
                }
                "method" => method = text(reader)?,
                other => {
                    is_answer |= other == "error";
                    self.foreign(reader, key)?;
                }
            }
            Ok::<(), Unreadable>(())
        })?;
        match (id, &method) {
            (Some(id), None) if is_answer => self.answers.push(Answer { id, task }),
            _ => self.note_unasked(),
        }
        let tells_of_task = |method: Cow<'_, str>| TASK_NOTIFICATIONS.contains(&&*method);
        if let (true, Some(task)) = (method.is_some_and(tells_of_task), about) {
            self.is_foreign |= !self.visibility.may_hear_of(&task);
        }
        Ok(())
    }

    /// A message answers nothing.
    fn note_unasked(&mut self) {
        self.tells_unasked = true;
        self.is_foreign |= self.visibility.hears_only_answers();
    }

    /// Parameters can hold a result, but no list of the server's: the tools
    /// that a server offers to the client's model are not its own. Gives the
    /// task that they are about.
    fn params(&mut self, reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Unreadable> {
        if !self.is_object(reader)? {
            return Ok(None);
        }
        let mut task = None;
        let mut seen = Decisive::NONE;
        reader.members(|reader, key| {
            match key {
                "result" => {
                    self.once(&mut seen, key)?;
                    self.result(reader, NESTED_RESULTS)?;
                }
                "taskId" => task = text(reader)?,
                _ => {
                    reader.skip()?;
                    self.check_look_alike(key, &["result"])?;
                }
            }
            Ok::<(), Unreadable>(())
        })?;
        Ok(task)
    }

    /// Whether an object comes next; anything else is skipped.
    ///
    /// Some readers take an array for an object, its items for the members in
    /// the order that they have in the reader's code. No message has an array
    /// there, so one is not passed on.
    fn is_object(&self, reader: &mut Reader<'a>) -> Result<bool, Unreadable> {
        if reader.is_object() {
            return Ok(true);
        }
        if reader.kind()? == Kind::Array && self.decisive != Decisive::NONE {
            return Err(Unreadable::NotAList);
        }
        reader.skip()?;
        Ok(false)
    }

    /// A result: lists stand directly in it. Gives the task that it tells of.
    fn result(
        &mut self,
        reader: &mut Reader<'a>,
        nested: u32,
    ) -> Result<Option<NewTask<'a>>, Unreadable> {
        if !self.is_object(reader)? {
            return Ok(None);
        }
        let mut told = Told::default();
        let mut members = Members::default();
        reader.object(|reader, key| {
            let start = key.quoted().start;
            let name = reader.decode(key);
            let stays = self.of_result(reader, &name, &mut told, nested)?;
            self.edits
                .extend(members.next(start..reader.position(), stays));
            Ok::<(), Unreadable>(())
        })?;
        self.edits.extend(members.end());
        if told.is_cut {
            self.edits.extend(told.caching.restrict(reader));
        }
        let task = |id, was_asked_for| NewTask { id, was_asked_for };
        let made = told.task.filter(|_| told.is_task).map(|id| task(id, false));
        Ok(made.or(told.asked_for.map(|id| task(id, true))))
    }

    /// One member of a result; whether it stays.
    fn of_result(
        &mut self,
        reader: &mut Reader<'a>,
        key: &str,
        told: &mut Told<'a>,
        nested: u32,
    ) -> Result<bool, Unreadable> {
        let row = LISTS
            .iter()
            .find(|(name, list, _)| *name == key && self.visibility.may_hide(*list));
        if let Some((_, list, naming)) = row {
            self.once(&mut told.seen, key)?;
            told.is_cut = true;
            self.list(reader, *list, naming)?;
            return Ok(true);
        }
        match key {
            "cacheScope" => {
                self.once(&mut told.seen, key)?;
                told.caching.scope = Some(reader.skip()?);
            }
            "ttlMs" => {
                self.once(&mut told.seen, key)?;
                told.caching.ttl = Some(reader.skip()?);
            }
            "result" if nested > 0 => {
                self.once(&mut told.seen, key)?;
                self.result(reader, nested.saturating_sub(1))?;
            }
            INSTRUCTIONS if self.visibility.judges_instructions() => {
                self.once(&mut told.seen, key)?;
                let span = reader.skip()?;
                return Ok(self.visibility.shows_instructions(reader.raw(&span)));
            }
            // Of 2026-07-28, and of 2025-11-25.
            "resultType" => told.is_task = text(reader)?.as_deref() == Some("task"),
            "taskId" => told.task = text(reader)?,
            "task" => told.asked_for = member_text(reader, "taskId")?,
            "tasks" if reader.kind()? == Kind::Array => told.is_cut |= self.tasks(reader)?,
            _ => self.foreign(reader, key)?,
        }
        Ok(true)
    }

    /// An array that may be a list of tasks: those that are not the caller's are
    /// cut out. What is no task stays, because an extension may have lists of
    /// that name, too. Whether there is a task in it.
    fn tasks(&mut self, reader: &mut Reader<'a>) -> Result<bool, Unreadable> {
        let mut has_task = false;
        self.entries(reader, |scan, reader| {
            let task = task_of(reader)?;
            has_task |= task != Entry::Other;
            Ok(match task {
                Entry::Named(id) => scan.visibility.shows(List::Tasks, &id),
                Entry::Ambiguous => false,
                Entry::Other => true,
            })
        })?;
        Ok(has_task)
    }

    /// A member that means nothing here, unless some reader takes it for one
    /// that does.
    fn foreign(&self, reader: &mut Reader<'a>, key: &str) -> Result<(), Unreadable> {
        reader.skip()?;
        let is_decisive = || self.decisive.and(Decisive::named(key)) != Decisive::NONE;
        if self.decisive == Decisive::NONE || BEGINNINGS.has_none_of(key) || is_decisive() {
            return Ok(());
        }
        self.check_look_alike(key, &self.decisive.names())
    }

    #[inline(never)]
    fn check_look_alike(&self, key: &str, names: &[&str]) -> Result<(), Unreadable> {
        if self.decisive != Decisive::NONE && key::folds_onto(key, names) {
            return Err(Unreadable::Ambiguous);
        }
        Ok(())
    }

    /// Refuses the second member of a name.
    #[inline]
    fn once(&self, seen: &mut Decisive, key: &str) -> Result<(), Unreadable> {
        let one = self.decisive.and(Decisive::named(key));
        if seen.and(one) != Decisive::NONE {
            return Err(Unreadable::Ambiguous);
        }
        seen.add(one);
        Ok(())
    }

    /// Cuts the hidden entries out, each with the comma that it had.
    fn list(
        &mut self,
        reader: &mut Reader<'a>,
        list: List,
        naming: &str,
    ) -> Result<(), Unreadable> {
        match reader.kind()? {
            Kind::Array => {}
            // Servers written in Go say `null` for an empty list.
            Kind::Null => {
                reader.skip()?;
                return Ok(());
            }
            _ => return Err(Unreadable::NotAList),
        }
        self.entries(reader, |scan, reader| {
            let start = reader.position();
            Ok(match entry_name(reader, naming)? {
                Some(name) => {
                    let entry = reader.raw(&(start..reader.position()));
                    scan.visibility.shows_entry(list, &name, entry)
                }
                None => false,
            })
        })
    }

    /// An array, of which the entries that are not shown are cut out.
    fn entries(
        &mut self,
        reader: &mut Reader<'a>,
        mut shows: impl FnMut(&mut Self, &mut Reader<'a>) -> Result<bool, Unreadable>,
    ) -> Result<(), Unreadable> {
        let mut members = Members::default();
        reader.array(|reader| {
            let start = reader.position();
            let shown = shows(self, reader)?;
            self.edits
                .extend(members.next(start..reader.position(), shown));
            Ok::<(), Unreadable>(())
        })?;
        self.edits.extend(members.end());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decisive_member_has_a_bit_of_its_own() {
        for (index, name) in DECISIVE.into_iter().enumerate() {
            assert_eq!(Decisive::named(name).0, 1 << index, "{name}");
            assert_eq!(*Decisive::named(name).names(), [name]);
            assert!(!BEGINNINGS.has_none_of(name), "{name}");
        }
        for (index, (name, ..)) in LISTS.into_iter().enumerate() {
            assert!(Decisive::of_list(index) == Decisive::named(name), "{name}");
        }
        assert_eq!(*Decisive::INSTRUCTIONS.names(), [INSTRUCTIONS]);
        let others = ["result", "params", "cacheScope", "ttlMs"];
        assert_eq!(*Decisive::OTHERS.names(), others);
        assert_eq!(Decisive::named("content").0, 0);
    }
}

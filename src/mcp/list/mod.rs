//! Takes entries out of the lists in a server's answer.
//!
//! A list is recognised by its shape, wherever it comes from: an answer may
//! arrive on another stream than the question, so nothing here depends on what
//! was asked. Entries that stay are not touched by a byte.

mod entry;
mod members;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

use self::entry::{Entry, entry_name, member_text, task_of, text};
use self::members::Members;
use super::key;
use crate::json::{self, Edit, Kind, Profile, Reader, splice};

/// The longest time, in milliseconds, for which a client may keep a list that
/// was cut for it: a change of policy shows after at most this long.
const LONGEST_TTL_MS: u64 = 60_000;

/// A kind of list that a server can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
    /// Of 2025-11-25.
    Tasks,
}

/// What a caller may see.
pub(crate) trait Visibility {
    /// Whether any entry of such a list could be hidden from this caller or
    /// another. A list of which this is not true stays as it is.
    fn may_hide(&self, list: List) -> bool;

    /// Whether the caller may see the entry with this name or URI.
    fn shows(&self, list: List, name: &str) -> bool;

    /// Whether the caller may be told of what becomes of this task.
    fn may_hear_of(&self, task: &str) -> bool;

    /// Whether the caller is told nothing but what answers a request.
    fn hears_only_answers(&self) -> bool;

    /// Whether the caller may see the entry with this name or URI, which is written like
    /// this.
    fn shows_entry(&self, list: List, name: &str, entry: &[u8]) -> bool {
        let _ = entry;
        self.shows(list, name)
    }

    /// Whether it depends on the server's text for the models of its clients if that is
    /// shown.
    fn judges_instructions(&self) -> bool;

    /// Whether this text is shown; it is any JSON value.
    fn shows_instructions(&self, text: &[u8]) -> bool;
}

/// Why an answer cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not JSON.
    Json(json::Error),
    /// A member stands there twice, or in two spellings, so that readers
    /// differ in which list they see.
    Ambiguous,
    /// Something stands in the place of a list that is no list.
    NotAList,
}

/// The member that holds a list, and the member of an entry that names it.
const LISTS: [(&str, List, &str); 4] = [
    ("tools", List::Tools, "name"),
    ("prompts", List::Prompts, "name"),
    ("resources", List::Resources, "uri"),
    ("resourceTemplates", List::ResourceTemplates, "uriTemplate"),
];

/// The notifications that tell of a task, its result included.
const TASK_NOTIFICATIONS: [&str; 2] = ["notifications/tasks", "notifications/tasks/status"];

/// The members besides the lists themselves that decide where a list stands and
/// for how long it is kept.
const DECISIVE: [&str; 4] = ["result", "params", "cacheScope", "ttlMs"];

/// The member of the answers to `initialize` and `server/discover` that holds
/// text for models. It is taken out of every result.
const INSTRUCTIONS: &str = "instructions";

/// How deep a result may stand in another: a task's answer holds the answer of
/// the call that it was made for.
const NESTED_RESULTS: u32 = 2;

/// A text that was read, and what it answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered<'a> {
    /// The text without the entries that the caller may not see; `None` if it
    /// stays as it is.
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) answers: SmallVec<[Answer<'a>; 1]>,
    /// Whether there is something in it that answers nothing.
    pub(crate) tells_unasked: bool,
    /// Whether nothing in it is for the caller.
    pub(crate) is_foreign: bool,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The id of the request, as it is written in the answer.
    pub(crate) id: &'a [u8],
    /// The task that the server made of the request, if it did.
    pub(crate) task: Option<NewTask<'a>>,
}

/// A task that a result tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTask<'a> {
    pub(crate) id: Cow<'a, str>,
    /// Whether it is told in the way of 2025-11-25, where the client asked for
    /// it.
    was_asked_for: bool,
}

impl NewTask<'_> {
    /// Whether a server can have made it of a call that asked for a task, or
    /// that did not.
    pub(crate) fn fits(&self, wants_task: bool) -> bool {
        wants_task || !self.was_asked_for
    }
}

/// Takes out the entries that the caller may not see.
pub(crate) fn filter<'a>(
    text: &'a [u8],
    visibility: &dyn Visibility,
) -> Result<Filtered<'a>, Unreadable> {
    let hiding = LISTS
        .iter()
        .filter(|(_, list, _)| visibility.may_hide(*list))
        .map(|(member, ..)| *member);
    let mut decisive: SmallVec<[&str; 8]> = hiding.collect();
    if visibility.judges_instructions() {
        decisive.push(INSTRUCTIONS);
    }
    if !decisive.is_empty() {
        decisive.extend(DECISIVE);
    }
    let mut scan = Scan {
        visibility,
        decisive,
        edits: Vec::new(),
        answers: SmallVec::new(),
        tells_unasked: false,
        is_foreign: false,
    };
    let mut reader = Reader::new(text, Profile::ANSWER)?;
    match reader.kind()? {
        Kind::Array => scan.batch(&mut reader)?,
        _ => scan.message(&mut reader)?,
    }
    reader.finish()?;
    let mut filtered = Filtered {
        text: None,
        answers: scan.answers,
        tells_unasked: scan.tells_unasked,
        is_foreign: scan.is_foreign,
    };
    if !scan.edits.is_empty() {
        scan.edits.sort_by_key(|edit| edit.span.start);
        let spliced = splice(text, &scan.edits).ok_or(Unreadable::Ambiguous)?;
        filtered.text = Some(spliced);
    }
    Ok(filtered)
}

struct Scan<'v, 'a> {
    visibility: &'v dyn Visibility,
    /// The members on which all readers must agree; none if nothing can be
    /// hidden.
    decisive: SmallVec<[&'static str; 8]>,
    edits: Vec<Edit>,
    answers: SmallVec<[Answer<'a>; 1]>,
    tells_unasked: bool,
    is_foreign: bool,
}

/// Which decisive members an object has shown so far.
#[derive(Default)]
struct Seen(u32);

/// What a result has told so far.
#[derive(Default)]
struct Told<'a> {
    seen: Seen,
    caching: Caching,
    /// Whether there is a list in it.
    is_cut: bool,
    task: Option<Cow<'a, str>>,
    asked_for: Option<Cow<'a, str>>,
    is_task: bool,
}

/// How long and for whom a result may be kept.
#[derive(Default)]
struct Caching {
    scope: Option<Range<usize>>,
    ttl: Option<Range<usize>>,
}

impl<'a> Scan<'_, 'a> {
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
        let mut seen = Seen::default();
        let (mut id, mut task, mut is_answer) = (None, None, false);
        let (mut method, mut about) = (None, None);
        reader.object(|reader, key| {
            let key = reader.decode(key);
            match &*key {
                "result" => {
                    self.once(&mut seen, &key)?;
                    is_answer = true;
                    task = self.result(reader, NESTED_RESULTS)?;
                }
                "params" => {
                    self.once(&mut seen, &key)?;
                    about = self.params(reader)?;
                }
                "id" => {
                    let span = reader.skip()?;
                    id = Some(reader.raw(&span));
                }
                "method" => method = text(reader)?,
                other => {
                    is_answer |= other == "error";
                    self.foreign(reader, &key)?;
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
        let mut seen = Seen::default();
        reader.object(|reader, key| {
            let key = reader.decode(key);
            match &*key {
                "result" => {
                    self.once(&mut seen, &key)?;
                    self.result(reader, NESTED_RESULTS)?;
                }
                "taskId" => task = text(reader)?,
                _ => {
                    reader.skip()?;
                    self.check_look_alike(&key, &["result"])?;
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
        match reader.kind()? {
            Kind::Object => return Ok(true),
            Kind::Array if !self.decisive.is_empty() => return Err(Unreadable::NotAList),
            _ => reader.skip()?,
        };
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
            self.restrict(reader, told.caching);
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
        if self.decisive.contains(&key) {
            return Ok(());
        }
        self.check_look_alike(key, &self.decisive)
    }

    fn check_look_alike(&self, key: &str, names: &[&str]) -> Result<(), Unreadable> {
        if !self.decisive.is_empty() && key::folds_onto(key, names) {
            return Err(Unreadable::Ambiguous);
        }
        Ok(())
    }

    /// Refuses the second member of a name.
    fn once(&self, seen: &mut Seen, key: &str) -> Result<(), Unreadable> {
        let bit = self
            .decisive
            .iter()
            .position(|name| *name == key)
            .map_or(0, |index| 1 << index);
        if seen.0 & bit != 0 {
            return Err(Unreadable::Ambiguous);
        }
        seen.0 |= bit;
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

    /// A list that was cut for one caller must not be shown to another, nor
    /// kept for long.
    fn restrict(&mut self, reader: &Reader<'_>, caching: Caching) {
        if let Some(scope) = caching.scope {
            if reader.raw(&scope) != b"\"private\"" {
                self.edits.push(Edit::replace(scope, b"\"private\""));
            }
        }
        if let Some(ttl) = caching.ttl {
            let short = std::str::from_utf8(reader.raw(&ttl))
                .ok()
                .and_then(|token| token.parse::<u64>().ok())
                .is_some_and(|milliseconds| milliseconds <= LONGEST_TTL_MS);
            if !short {
                self.edits.push(Edit::replace(ttl, b"60000"));
            }
        }
    }
}

impl From<json::Error> for Unreadable {
    fn from(error: json::Error) -> Self {
        Self::Json(error)
    }
}

impl Unreadable {
    /// The text for a client that waits for the answer.
    pub(crate) fn explain(self) -> String {
        format!(
            "The server's answer cannot be passed on: {self}. If this was a call, it was made \
             and may have had its effect; do not repeat it blindly."
        )
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "it is not readable JSON: {error}"),
            Self::Ambiguous => f.write_str("clients differ in which list they would read in it"),
            Self::NotAList => f.write_str("something else stands in the place of a list"),
        }
    }
}

impl std::error::Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hides tools whose names begin with `x`, and every prompt.
    struct Rules;

    impl Visibility for Rules {
        fn may_hide(&self, list: List) -> bool {
            matches!(list, List::Tools | List::Prompts)
        }

        fn shows(&self, list: List, name: &str) -> bool {
            list == List::Tools && !name.starts_with('x')
        }

        fn may_hear_of(&self, task: &str) -> bool {
            self.shows(List::Tasks, task)
        }

        fn hears_only_answers(&self) -> bool {
            false
        }

        fn judges_instructions(&self) -> bool {
            false
        }

        fn shows_instructions(&self, _: &[u8]) -> bool {
            true
        }
    }

    fn filtered(text: &str) -> Result<String, Unreadable> {
        let filtered = filter(text.as_bytes(), &Rules)?.text;
        Ok(filtered.map_or(text.to_owned(), |bytes| String::from_utf8(bytes).unwrap()))
    }

    fn tools(list: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{list},"nextCursor":"c"}}}}"#)
    }

    #[test]
    fn hidden_entries_go_with_their_commas() {
        for (before, after) in [
            ("[]", "[]"),
            ("null", "null"),
            (
                r#"[ {"name":"a"} , {"name":"b", "n":1.0} ]"#,
                r#"[ {"name":"a"} , {"name":"b", "n":1.0} ]"#,
            ),
            (r#"[{"name":"x1"}]"#, "[]"),
            (r#"[{"name":"x1"},{"name":"x2"}]"#, "[]"),
            (r#"[{"name":"x1"},{"name":"a"}]"#, r#"[{"name":"a"}]"#),
            (r#"[{"name":"a"},{"name":"x1"}]"#, r#"[{"name":"a"}]"#),
            (
                r#"[{"name":"a"}, {"name":"x1"}, {"name":"b"}]"#,
                r#"[{"name":"a"}, {"name":"b"}]"#,
            ),
            (
                r#"[{"name":"x1"},{"name":"a"},{"name":"x2"},{"name":"x3"},{"name":"b"},{"name":"x4"}]"#,
                r#"[{"name":"a"},{"name":"b"}]"#,
            ),
        ] {
            assert_eq!(filtered(&tools(before)).unwrap(), tools(after), "{before}");
        }
    }

    #[test]
    fn of_several_messages_only_those_about_foreign_tasks_are_left_out() {
        let foreign = r#"{"method":"notifications/tasks","params":{"taskId":"t","result":{"tools":[{"name":"x"},{"name":"a"}]}}}"#;
        let list = |tools: &str| format!(r#"{{"id":1,"result":{{"tools":[{tools}]}}}}"#);
        let (whole, cut) = (
            list(r#"{"name":"a"},{"name":"x"}"#),
            list(r#"{"name":"a"}"#),
        );
        for (before, after) in [
            (format!("[{foreign}, {whole}]"), format!("[{cut}]")),
            (format!("[{whole} ,{foreign}]"), format!("[{cut}]")),
            (
                format!("[{foreign},{foreign},{whole},{foreign},{{}}]"),
                format!("[{cut},{{}}]"),
            ),
        ] {
            assert_eq!(filtered(&before).unwrap(), after, "{before}");
            assert!(!filter(before.as_bytes(), &Rules).unwrap().is_foreign);
        }
        for all in [foreign.to_owned(), format!("[{foreign},{foreign}]")] {
            assert!(filter(all.as_bytes(), &Rules).unwrap().is_foreign);
        }
        assert!(!filter(b"[]", &Rules).unwrap().is_foreign);
    }

    #[test]
    fn entries_without_a_readable_name_are_left_out() {
        for entry in [
            "7",
            "null",
            "{}",
            r#"{"name":7}"#,
            r#"{"name":"a","name":"a"}"#,
            r#"{"name":"a","Name":"x"}"#,
            r#"{"name":"a","name\u0000":"x"}"#,
            r#"{"n\u0061me":"x1"}"#,
        ] {
            let list = format!(r#"[{{"name":"a"}},{entry}]"#);
            assert_eq!(
                filtered(&tools(&list)).unwrap(),
                tools(r#"[{"name":"a"}]"#),
                "{entry}"
            );
        }
    }

    #[test]
    fn lists_are_found_wherever_a_client_reads_them() {
        for text in [
            r#"[{"id":1,"result":{"tools":[{"name":"x"}]}}]"#,
            r#"{"method":"notifications/x","result":{"tools":[{"name":"x"}]}}"#,
            r#"{"result":{"result":{"tools":[{"name":"x"}]}}}"#,
            r#"{"result":{"result":{"result":{"tools":[{"name":"x"}]}}}}"#,
            r#"{"method":"notifications/tasks","params":{"result":{"tools":[{"name":"x"}]}}}"#,
            r#"{"res\u0075lt":{"to\u006fls":[{"name":"\u0078"}]}}"#,
            r#"{"result":{"prompts":[{"name":"x"}]}}"#,
        ] {
            let after = filtered(text).unwrap();
            assert!(after.contains(":[]"), "{after}");
        }
    }

    #[test]
    fn answers_are_known_in_whatever_order_they_are_written() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("1")),
            (r#"{"result":{},"id":"a","jsonrpc":"2.0"}"#, Some("\"a\"")),
            (r#"{"error":{},"id":1,"jsonrpc":"2.0"}"#, Some("1")),
            (r#"{"id":1,"method":"ping","result":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":1}"#, None),
        ] {
            let answers = filter(text.as_bytes(), &Rules).unwrap().answers;
            let ids: Vec<_> = answers.iter().map(|answer| answer.id).collect();
            let expected: Vec<_> = id.into_iter().map(str::as_bytes).collect();
            assert_eq!(ids, expected, "{text}");
        }
    }

    #[test]
    fn other_values_stay() {
        for text in [
            r#"{"result":{"content":[],"structuredContent":{"tools":[{"name":"x"}]}}}"#,
            r#"{"method":"sampling/createMessage","params":{"tools":[{"name":"x"}]}}"#,
            r#"{"result":{"resources":[{"uri":"x"}]}}"#,
            r#"{"result":{"result":{"result":{"result":{"tools":[{"name":"x"}]}}}}}"#,
            r#"{"result":{"resources":{},"Resources":1,"a":"\ud800","a":1e999}}"#,
            "7",
        ] {
            assert_eq!(filtered(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn caching_is_restricted_where_a_list_stands() {
        assert_eq!(
            filtered(r#"{"result":{"cacheScope":"public","tools":[],"ttlMs":3600000}}"#).unwrap(),
            r#"{"result":{"cacheScope":"private","tools":[],"ttlMs":60000}}"#,
        );
        // Only the first of these is a task.
        assert_eq!(
            filtered(
                r#"{"result":{"cacheScope":"public","tasks":[{"taskId":"t"},{"id":1}],"ttlMs":60001}}"#
            )
            .unwrap(),
            r#"{"result":{"cacheScope":"private","tasks":[{"id":1}],"ttlMs":60000}}"#,
        );
        for stays in [
            r#"{"result":{"cacheScope":"public","tasks":[{"id":1}],"ttlMs":3600000}}"#,
            r#"{"result":{"cacheScope":"private","tools":[],"ttlMs":60000}}"#,
            r#"{"result":{"cacheScope":"public","resources":[],"ttlMs":3600000}}"#,
            r#"{"result":{"tools":[]}}"#,
        ] {
            assert_eq!(filtered(stays).unwrap(), stays);
        }
        for odd in ["-1", "1e9", "\"5\"", "6e4", "99999999999999999999", "1.5"] {
            let text = format!(r#"{{"result":{{"tools":[],"ttlMs":{odd}}}}}"#);
            assert_eq!(
                filtered(&text).unwrap(),
                r#"{"result":{"tools":[],"ttlMs":60000}}"#
            );
        }
    }

    #[test]
    fn what_clients_read_differently_is_unreadable() {
        for text in [
            r#"{"result":{"tools":[]},"result":{"tools":[{"name":"x"}]}}"#,
            r#"{"result":{"tools":[],"tools":[{"name":"x"}]}}"#,
            r#"{"result":{"tools":[],"Tools":[{"name":"x"}]}}"#,
            r#"{"Result":{"tools":[{"name":"x"}]}}"#,
            r#"{"result":{"tools":{"a":{"name":"x"}}}}"#,
            r#"{"result":{"tools":"[]"}}"#,
            r#"{"result":[null,null,null,null,null,[{"name":"x"}]]}"#,
            r#"{"result":{"result":[[{"name":"x"}]]}}"#,
            r#"{"params":[{"tools":[{"name":"x"}]}]}"#,
            r#"[["2.0",1,{"tools":[{"name":"x"}]}]]"#,
            "",
            "{",
            r#"{"result":{"tools":[{"name":"x"}]}} {}"#,
        ] {
            assert!(filtered(text).is_err(), "{text}");
        }
    }
}

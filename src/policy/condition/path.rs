//! Paths: `args.a["b.c"][0][*]`.

use std::fmt;

use crate::json::{Profile, Reader};

/// Nothing lies deeper: the reader of messages refuses it.
const MAX_STEPS: usize = 64;

/// Where a condition looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Path {
    text: String,
    root: Root,
    steps: Vec<Step>,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Root {
    /// `args`: the arguments of the tool or prompt.
    Args,
    /// `resource`: its `uri`.
    Resource,
    /// `caller`: its `id` and `claims`.
    Caller,
    /// `tool`: its `name`.
    Tool,
    /// `client`: what the client says of itself.
    Client,
}

impl Root {
    pub(in crate::policy) const ALL: [Self; 5] = [
        Self::Args,
        Self::Resource,
        Self::Caller,
        Self::Tool,
        Self::Client,
    ];

    pub(in crate::policy) const fn name(self) -> &'static str {
        match self {
            Self::Args => "args",
            Self::Resource => "resource",
            Self::Caller => "caller",
            Self::Tool => "tool",
            Self::Client => "client",
        }
    }

    /// The members it has; of `args` and `client` these are not known.
    const fn members(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Args | Self::Client => None,
            Self::Resource => Some(&["uri"]),
            Self::Caller => Some(&["id", "claims"]),
            Self::Tool => Some(&["name"]),
        }
    }
}

/// Some of the roots: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::policy) struct RootSet(u8);

impl RootSet {
    pub(in crate::policy) const NONE: Self = Self(0);

    pub(in crate::policy) fn of(roots: impl IntoIterator<Item = Root>) -> Self {
        let bits = roots.into_iter().map(|root| 1 << root as u8);
        Self(bits.fold(0, |set, bit: u8| set | bit))
    }

    pub(in crate::policy) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(in crate::policy) const fn has(self, root: Root) -> bool {
        self.0 >> root as u8 & 1 == 1
    }

    /// In their order.
    pub(in crate::policy) fn iter(self) -> impl Iterator<Item = Root> {
        let mut left = self;
        std::iter::from_fn(move || {
            let first = Root::ALL.get(usize::try_from(left.0.trailing_zeros()).ok()?)?;
            left.0 &= left.0.checked_sub(1)?;
            Some(*first)
        })
    }
}

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Step {
    /// `.name` or `["name"]`: the member of an object.
    Field(Box<str>),
    /// `[0]`: one item of a list.
    Index(usize),
    /// `[*]`: every item of a list.
    Each,
}

/// Why a text is not a path, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct PathError {
    pub(in crate::policy) message: String,
    pub(in crate::policy) help: &'static str,
    /// The byte of the text at which it goes wrong.
    pub(in crate::policy) offset: usize,
}

const HELP_ROOT: &str =
    "a path begins with `args`, `resource`, `caller`, `tool` or `client`, as in `args.amount`";
const HELP_STEP: &str = r#"after the root come `.name`, `["any name"]`, `[0]` or `[*]`"#;
const HELP_NAME: &str = r#"write a name with other characters as `["any name"]`"#;
const HELP_BRACKET: &str = r#"in brackets stands a number, `*` or a name in double quotes"#;

impl Path {
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, PathError> {
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let name = text.get(..end).unwrap_or_default();
        let Some(root) = Root::ALL.into_iter().find(|root| root.name() == name) else {
            return Err(error("this is not where a path can begin", HELP_ROOT, 0));
        };
        let mut steps = Vec::new();
        let mut parser = Parser {
            text,
            position: end,
        };
        while parser.position < text.len() {
            let start = parser.position;
            if steps.len() >= MAX_STEPS {
                let message = format!("the path has more than {MAX_STEPS} steps");
                return Err(error(message, "no message is nested so deep", start));
            }
            let step = parser.step()?;
            match steps.first() {
                None => check_member(root, &step, start)?,
                Some(first) => check_below(root, first, start)?,
            }
            steps.push(step);
        }
        Ok(Self {
            text: text.to_owned(),
            root,
            steps,
        })
    }

    pub(in crate::policy) fn root(&self) -> Root {
        self.root
    }

    pub(in crate::policy) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether it leads to more than one value.
    pub(in crate::policy) fn has_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is known of the roots that this layer makes itself.
fn check_member(root: Root, step: &Step, offset: usize) -> Result<(), PathError> {
    let Some(members) = root.members() else {
        return Ok(());
    };
    match step {
        Step::Field(name) if members.contains(&&**name) => Ok(()),
        _ => {
            let help = match root {
                Root::Caller => "there are `caller.id` and `caller.claims`",
                Root::Tool => "there is only `tool.name`",
                _ => "there is only `resource.uri`",
            };
            let message = format!("`{}` has no such member", root.name());
            Err(error(message, help, offset))
        }
    }
}

/// Of those members some are text.
fn check_below(root: Root, first: &Step, offset: usize) -> Result<(), PathError> {
    let is_text = match (root, first) {
        (Root::Resource | Root::Tool, _) => true,
        (Root::Caller, Step::Field(name)) => &**name == "id",
        _ => false,
    };
    if is_text {
        return Err(error(
            "this is text, which has no members",
            "let the path end here",
            offset,
        ));
    }
    Ok(())
}

fn error(message: impl Into<String>, help: &'static str, offset: usize) -> PathError {
    PathError {
        message: message.into(),
        help,
        offset,
    }
}

struct Parser<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn step(&mut self) -> Result<Step, PathError> {
        let rest = self.rest();
        if let Some(rest) = rest.strip_prefix('.') {
            self.position += 1;
            return self.name(rest);
        }
        if let Some(rest) = rest.strip_prefix('[') {
            self.position += 1;
            return self.bracket(rest);
        }
        Err(error("no step begins so", HELP_STEP, self.position))
    }

    fn name(&mut self, rest: &str) -> Result<Step, PathError> {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        if name.is_empty() {
            return Err(error("a name is missing", HELP_STEP, self.position));
        }
        let odd = |c: char| {
            matches!(c, ']' | '"' | '\'' | '*' | '\\') || c.is_whitespace() || c.is_control()
        };
        if let Some(at) = name.find(odd) {
            let offset = self.position.saturating_add(at);
            return Err(error("this cannot stand in a name", HELP_NAME, offset));
        }
        self.position = self.position.saturating_add(end);
        Ok(Step::Field(name.into()))
    }

    fn bracket(&mut self, rest: &str) -> Result<Step, PathError> {
        let start = self.position;
        let bad = |message: &str| Err(error(message, HELP_BRACKET, start));
        let (step, length) = if rest.starts_with('*') {
            (Step::Each, 1)
        } else if rest.starts_with('"') {
            let Some((name, length)) = quoted(rest) else {
                return bad("the name in brackets is not a JSON string");
            };
            (Step::Field(name.into()), length)
        } else {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number = rest.get(..digits).unwrap_or_default();
            match number.parse::<u32>() {
                Ok(index) if number == "0" || !number.starts_with('0') => {
                    // No list is longer than fits here.
                    (
                        Step::Index(usize::try_from(index).unwrap_or(usize::MAX)),
                        digits,
                    )
                }
                _ => return bad("this is not the number of an item"),
            }
        };
        if rest.as_bytes().get(length) != Some(&b']') {
            let offset = start.saturating_add(length);
            return Err(error("`]` is missing", HELP_BRACKET, offset));
        }
        self.position = start.saturating_add(length).saturating_add(1);
        Ok(step)
    }
}

/// The JSON string that a text begins with, and how long it is in there.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut reader = Reader::new(text.as_bytes(), Profile::DOCUMENT).ok()?;
    let string = reader.string().ok()?;
    Some((reader.decode(string).into_owned(), reader.position()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.into())
    }

    #[test]
    fn every_kind_of_step_is_read() {
        let text = r#"args.a["b.c"][0][*]["\u0064]\""].e-f_1.0"#;
        let path = Path::parse(text).unwrap();
        assert_eq!(path.root(), Root::Args);
        assert_eq!(path.to_string(), text);
        assert!(path.has_each());
        let steps = [
            field("a"),
            field("b.c"),
            Step::Index(0),
            Step::Each,
            field("d]\""),
            field("e-f_1"),
            field("0"),
        ];
        assert_eq!(path.steps(), steps);
    }

    #[test]
    fn every_root_is_a_path() {
        for root in Root::ALL {
            let path = Path::parse(root.name()).unwrap();
            assert_eq!((path.root(), path.steps()), (root, &[][..]));
            assert!(!path.has_each());
        }
        for text in [
            "caller.id",
            "caller.claims.team",
            "tool.name",
            "resource.uri",
            "client.version",
            r#"caller["claims"]["a b"][0]"#,
            "args[\"\"]",
            "args.\u{e9}t\u{e9}",
        ] {
            assert!(Path::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_where_it_goes_wrong() {
        for (text, offset) in [
            ("", 0),
            ("arg.a", 0),
            ("Args.a", 0),
            (" args.a", 0),
            ("$.a", 0),
            ("args.", 5),
            ("args..a", 5),
            ("args.a.", 7),
            ("args.a b", 6),
            ("args.*", 5),
            ("args.a]", 6),
            ("args.a'b'", 6),
            ("args[", 5),
            ("args[]", 5),
            ("args[a]", 5),
            ("args['a']", 5),
            ("args[-1]", 5),
            ("args[01]", 5),
            ("args[1.0]", 6),
            ("args[99999999999]", 5),
            ("args[*", 6),
            ("args[\"a]", 5),
            ("args[\"a\"", 8),
            ("args[\"\\x\"]", 5),
            ("args[0]a", 7),
            ("caller.name", 6),
            ("caller[0]", 6),
            ("tool.args", 4),
            ("tool.name.a", 9),
            ("resource.uri[0]", 12),
            ("caller.id.a", 9),
            ("resource[*]", 8),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error:?}");
            assert!(!error.message.is_empty() && !error.help.is_empty());
        }
    }

    #[test]
    fn the_number_of_steps_is_bounded() {
        let steps = |count| format!("args{}", "[0]".repeat(count));
        assert!(Path::parse(&steps(MAX_STEPS)).is_ok());
        assert_eq!(
            Path::parse(&steps(MAX_STEPS + 1)).unwrap_err().offset,
            4 + 3 * 64
        );
    }
}

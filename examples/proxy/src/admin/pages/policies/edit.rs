//! Changes one value of a JSON text, and leaves every other byte as it is.

use std::ops::Range;

use serde_json::value::RawValue;

pub(super) use crate::pointer::escape as step;
use crate::{members::AsWritten, pointer::unescape};

/// The longest value that is written into one line, if nothing is nested in it.
const LONGEST_LINE: usize = 72;

/// The longest blank that lines begin with as others do, and the deepest that they are
/// indented: each line of a value has that again.
const LONGEST_BLANK: usize = 32;
const DEEPEST: usize = 16;

/// Bytes of a value that is written.
const LONGEST_VALUE: usize = 256 * 1024;

pub(super) const NOT_JSON: Stuck = Stuck("the text is not JSON");
const TOO_LONG: Stuck = Stuck("the value is longer than 256 KiB");
const NOT_THERE: Stuck = Stuck("what should be changed is not there any more");
const NO_NUMBER: Stuck = Stuck("there is a list where an object was expected");
const NO_PARTS: Stuck = Stuck("there is a plain value where an object or a list was expected");

/// A text that cannot be changed so, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck(pub(super) &'static str);

/// A value, and the text in which it stands.
#[derive(Clone, Copy)]
pub(super) struct Node<'t> {
    whole: &'t str,
    text: &'t str,
}

/// What a value holds.
enum Inner<'t> {
    Members(Vec<(String, Node<'t>)>),
    Elements(Vec<Node<'t>>),
    Nothing,
}

impl<'t> Node<'t> {
    /// The value that a whole text is; `None` if it is no JSON.
    pub(super) fn of(whole: &'t str) -> Option<Self> {
        let raw: &RawValue = serde_json::from_str(whole).ok()?;
        let text = raw.get();
        Some(Self { whole, text })
    }

    /// As it is written.
    pub(super) fn text(self) -> &'t str {
        self.text
    }

    /// The string that it is, if it is one.
    pub(super) fn string(self) -> Option<String> {
        serde_json::from_str(self.text).ok()
    }

    /// The members, in their order; `None` if it is no object.
    pub(super) fn members(self) -> Option<Vec<(String, Self)>> {
        match self.inner() {
            Inner::Members(members) => Some(members),
            _ => None,
        }
    }

    /// The elements; none if it is no list.
    pub(super) fn elements(self) -> Vec<Self> {
        match self.inner() {
            Inner::Elements(elements) => elements,
            _ => Vec::new(),
        }
    }

    pub(super) fn member(self, name: &str) -> Option<Self> {
        let members = self.members()?;
        let found = members.into_iter().find(|(own, _)| own == name);
        found.map(|(_, node)| node)
    }

    /// What is at a place below.
    pub(super) fn at(self, place: &[&str]) -> Option<Self> {
        let mut here = self;
        for step in place {
            here = match here.inner() {
                Inner::Members(members) => members.into_iter().find(|(own, _)| own == step)?.1,
                Inner::Elements(elements) => *elements.get(step.parse::<usize>().ok()?)?,
                Inner::Nothing => return None,
            };
        }
        Some(here)
    }

    fn inner(self) -> Inner<'t> {
        let within = |raw: &'t RawValue| Self {
            whole: self.whole,
            text: raw.get(),
        };
        match self.text.as_bytes().first() {
            Some(b'{') => match serde_json::from_str(self.text) {
                Ok(AsWritten(members)) => {
                    let members = members.into_iter();
                    Inner::Members(members.map(|(name, raw)| (name, within(raw))).collect())
                }
                Err(_) => Inner::Nothing,
            },
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(self.text) {
                Ok(elements) => Inner::Elements(elements.into_iter().map(within).collect()),
                Err(_) => Inner::Nothing,
            },
            _ => Inner::Nothing,
        }
    }

    /// The bytes of the whole that it has.
    fn span(self) -> Range<usize> {
        let start = self.text.as_ptr().addr();
        let start = start.saturating_sub(self.whole.as_ptr().addr());
        start..start.saturating_add(self.text.len())
    }
}

/// The text, in which there is this value at a place. Objects on the way there that are
/// not there are made; the number of elements is the place of a further one.
pub(super) fn set(whole: &str, place: &[&str], value: &str) -> Result<String, Stuck> {
    if value.len() > LONGEST_VALUE {
        return Err(TOO_LONG);
    }
    let mut here = Node::of(whole).ok_or(NOT_JSON)?;
    let mut rest = place;
    while let [step, below @ ..] = rest {
        let next = match here.inner() {
            Inner::Members(members) => {
                let found = members.iter().find(|(own, _)| own == step);
                match found.map(|(_, node)| *node) {
                    Some(next) => next,
                    None => return Ok(insert(whole, here, &members, step, &nested(below, value))),
                }
            }
            Inner::Elements(elements) => {
                let index: usize = step.parse().map_err(|_| NO_NUMBER)?;
                match elements.get(index) {
                    Some(next) => *next,
                    None if index == elements.len() => {
                        return Ok(append(whole, here, &elements, &nested(below, value)));
                    }
                    None => return Err(NOT_THERE),
                }
            }
            Inner::Nothing => return Err(NO_PARTS),
        };
        (here, rest) = (next, below);
    }
    let layout = Layout::of(whole, here.span().start);
    let value = layout.lay_out(value);
    Ok(splice(whole, here.span(), &value))
}

/// The text without what is at a place.
pub(super) fn remove(whole: &str, place: &[&str]) -> Result<String, Stuck> {
    let root = Node::of(whole).ok_or(NOT_JSON)?;
    let (last, above) = place.split_last().ok_or(NOT_THERE)?;
    let parent = root.at(above).ok_or(NOT_THERE)?;
    let (spans, index): (Vec<Range<usize>>, _) = match parent.inner() {
        Inner::Members(members) => {
            let index = members.iter().position(|(own, _)| own == last);
            let mut end = parent.span().start.saturating_add(1);
            let spans = members.iter().map(|(_, node)| {
                let start = key_span(whole, end, node.span().start).start;
                end = node.span().end;
                start..end
            });
            (spans.collect(), index)
        }
        Inner::Elements(elements) => {
            let index = last.parse().ok();
            (elements.iter().map(|node| node.span()).collect(), index)
        }
        Inner::Nothing => return Err(NO_PARTS),
    };
    let index: usize = index.ok_or(NOT_THERE)?;
    let own = spans.get(index).ok_or(NOT_THERE)?;
    let before = index.checked_sub(1).and_then(|before| spans.get(before));
    let cut = match (before, spans.get(index.saturating_add(1))) {
        (_, Some(next)) => own.start..next.start,
        (Some(before), None) => before.end..own.end,
        (None, None) => {
            let outer = parent.span();
            outer.start.saturating_add(1)..outer.end.saturating_sub(1)
        }
    };
    Ok(splice(whole, cut, ""))
}

/// The text laid out anew. Only its blanks are others, and the escapes in its keys.
pub(super) fn laid_out(whole: &str) -> Result<String, Stuck> {
    let root = Node::of(whole).ok_or(NOT_JSON)?;
    let layout = Layout {
        before: Some(""),
        unit: "  ",
        deeper: 0,
    };
    Ok(layout.parts(root, 0) + "\n")
}

/// A string as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An object of these members.
pub(super) fn object(members: &[(&str, String)]) -> String {
    let members = members.iter();
    let members: Vec<_> = members
        .map(|(name, value)| format!("{}: {value}", quoted(name)))
        .collect();
    match members.as_slice() {
        [] => "{}".to_owned(),
        members => format!("{{ {} }}", members.join(", ")),
    }
}

/// The names of a JSON Pointer.
pub(super) fn steps(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let steps = pointer.strip_prefix('/')?.split('/');
    Some(steps.map(unescape).collect())
}

fn nested(place: &[&str], value: &str) -> String {
    let wrap = |value: String, step: &&str| object(&[(step, value)]);
    place.iter().rev().fold(value.to_owned(), wrap)
}

fn splice(whole: &str, span: Range<usize>, new: &str) -> String {
    let before = whole.get(..span.start).unwrap_or_default();
    let after = whole.get(span.end..).unwrap_or_default();
    [before, new, after].concat()
}

/// The key between the end of what is before it and the start of its value.
fn key_span(whole: &str, from: usize, to: usize) -> Range<usize> {
    let gap = whole.get(from..to).unwrap_or_default();
    let start = gap.find('"').unwrap_or_default();
    let end = gap
        .rfind('"')
        .map_or(gap.len(), |end| end.saturating_add(1));
    from.saturating_add(start)..from.saturating_add(end)
}

/// Writes a further member, in the way of those before it.
fn insert(
    whole: &str,
    object: Node<'_>,
    members: &[(String, Node<'_>)],
    name: &str,
    value: &str,
) -> String {
    let name = quoted(name);
    let Some((last, before)) = members.split_last() else {
        return fill(whole, object, &format!("{name}: "), value);
    };
    let last = last.1.span();
    let end = before.last().map_or_else(
        || object.span().start.saturating_add(1),
        |(_, node)| node.span().end,
    );
    let key = key_span(whole, end, last.start);
    let colon = whole.get(key.end..last.start).unwrap_or(": ");
    let gap = blank(whole, end, key.start, colon.ends_with(' '));
    let layout = Layout::of(whole, key.start);
    let value = layout.lay_out(value);
    splice(
        whole,
        last.end..last.end,
        &format!(",{gap}{name}{colon}{value}"),
    )
}

/// Writes a further element, in the way of those before it.
fn append(whole: &str, list: Node<'_>, elements: &[Node<'_>], value: &str) -> String {
    let Some((last, before)) = elements.split_last() else {
        return fill(whole, list, "", value);
    };
    let last = last.span();
    let end = before.last().map_or_else(
        || list.span().start.saturating_add(1),
        |node| node.span().end,
    );
    let gap = blank(whole, end, last.start, true);
    let value = Layout::of(whole, last.start).lay_out(value);
    splice(whole, last.end..last.end, &format!(",{gap}{value}"))
}

/// What is between a comma and what follows it, as it was before the last part.
fn blank(whole: &str, from: usize, to: usize, is_airy: bool) -> &str {
    let gap = whole.get(from..to).unwrap_or_default();
    let gap = gap.rsplit(',').next().unwrap_or_default();
    match gap {
        "" if is_airy => " ",
        gap => gap,
    }
}

/// Writes the only part of what is empty.
fn fill(whole: &str, container: Node<'_>, name: &str, value: &str) -> String {
    let span = container.span();
    let inside = span.start.saturating_add(1)..span.end.saturating_sub(1);
    let outer = Layout::of(whole, span.start);
    let text = match outer.deeper() {
        Some(inner) => {
            let value = inner.lay_out(value);
            let (deep, flat) = (inner.indent(), outer.indent());
            format!("\n{deep}{name}{value}\n{flat}")
        }
        None => format!(" {name}{value} "),
    };
    splice(whole, inside, &text)
}

/// How a text is laid out around a place.
#[derive(Clone)]
struct Layout<'t> {
    /// What the line begins with; `None` if all of the text is in one.
    before: Option<&'t str>,
    unit: &'t str,
    deeper: usize,
}

impl<'t> Layout<'t> {
    fn of(whole: &'t str, at: usize) -> Self {
        let blank = |line: &'t str| {
            let end = line
                .find(|c: char| !matches!(c, ' ' | '\t'))
                .unwrap_or_default();
            line.get(..end.min(LONGEST_BLANK)).unwrap_or_default()
        };
        let before = whole.get(..at).unwrap_or_default();
        let line = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let line = whole.get(line..).unwrap_or_default();
        let mut indents = whole.lines().map(blank);
        Self {
            before: whole.trim_end().contains('\n').then(|| blank(line)),
            unit: indents.find(|indent| !indent.is_empty()).unwrap_or("  "),
            deeper: 0,
        }
    }

    fn deeper(&self) -> Option<Self> {
        self.before?;
        Some(Self {
            deeper: self.deeper.saturating_add(1),
            ..self.clone()
        })
    }

    fn indent(&self) -> String {
        self.before.unwrap_or_default().to_owned() + &self.unit.repeat(self.deeper.min(DEEPEST))
    }

    /// A value, in as many lines as it needs.
    fn lay_out(&self, value: &str) -> String {
        match Node::of(value) {
            Some(node) => self.parts(node, LONGEST_LINE),
            None => value.to_owned(),
        }
    }

    /// The same, in one line if it is no longer than so much and nothing is nested in it.
    fn parts(&self, node: Node<'_>, longest: usize) -> String {
        let value = node.text;
        let Some(inner) = self.deeper() else {
            return value.to_owned();
        };
        let is_one_line = !value.contains('\n') && value.len() <= longest;
        let is_flat = |node: &Node<'_>| !node.text.starts_with(['{', '[']) || node.text == "{}";
        let (parts, ends): (Vec<_>, _) = match node.inner() {
            Inner::Members(members) if !members.is_empty() => {
                if is_one_line && members.iter().all(|(_, node)| is_flat(node)) {
                    return value.to_owned();
                }
                let members = members.into_iter();
                let part = |(name, node): (String, Node<'_>)| {
                    format!("{}: {}", quoted(&name), inner.lay_out(node.text))
                };
                (members.map(part).collect(), ('{', '}'))
            }
            Inner::Elements(elements) if !elements.is_empty() => {
                if is_one_line && elements.iter().all(is_flat) {
                    return value.to_owned();
                }
                let elements = elements.iter();
                let part = |node: &Node<'_>| inner.lay_out(node.text);
                (elements.map(part).collect(), ('[', ']'))
            }
            _ => return value.to_owned(),
        };
        let (deep, flat) = (inner.indent(), self.indent());
        let parts = parts.join(&format!(",\n{deep}"));
        format!("{}\n{deep}{parts}\n{flat}{}", ends.0, ends.1)
    }
}

#[cfg(test)]
mod tests;

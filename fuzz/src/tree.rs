//! JSON values that keep every member, so that each reader's choice among
//! members of one name can be played through.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// Anything of which only the type counts.
    Scalar,
    String(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Which of several members a reader takes for the one that it looks for.
#[derive(Clone, Copy, Debug)]
pub enum View {
    First,
    Last,
    /// The last that has the name, as readers in Go compare names: whatever the
    /// case, with letters that fold onto ASCII, and up to a NUL.
    Folded,
}

pub const VIEWS: [View; 3] = [View::First, View::Last, View::Folded];

impl Tree {
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn get(&self, key: &str, view: View) -> Option<&Self> {
        let mut members = self.members().iter();
        let member = match view {
            View::First => members.find(|(name, _)| name == key),
            View::Last => members.rfind(|(name, _)| name == key),
            View::Folded => members.rfind(|(name, _)| is_same(name, key)),
        };
        member.map(|(_, value)| value)
    }
}

/// Whether a reader in Go takes one name for the other.
pub fn is_same(one: &str, other: &str) -> bool {
    let fold = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    let one = one.trim_end_matches('\0').chars().map(fold);
    one.eq(other.chars().map(fold))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Tree::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Tree::Object(object))
    }
}

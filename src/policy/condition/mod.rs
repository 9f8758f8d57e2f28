//! Conditions: what a rule asks of the arguments of a call, and of who makes it.
//!
//! A condition is a [`Path`], a [`Test`] of the value found there, and what its
//! answer is used for ([`Use`]). Its answer is a [`Truth`], of which there are
//! three: what cannot be decided is never taken for the answer that the caller
//! would like.
//!
//! The conditions of one rule become a [`Plan`], a tree of the paths that they
//! share. [`evaluate`] walks the text of each root once along these paths, and
//! puts every value that it meets to the tests that wait for it. Nothing is
//! collected: each answer is folded into the truth of its condition on the way.
//!
//! Nothing here knows HTTP, and nothing here reads a document. What all of this means
//! is said on [the page on policies](crate::docs::policy#conditions).

mod find;
mod folder;
mod host;
mod keys;
mod number;
mod operator;
mod path;
mod plan;
mod purpose;
mod regex;
mod test;
mod truth;
mod value;
mod walk;
mod wanted;

#[cfg(test)]
mod table;

pub(in crate::policy) use self::find::{Found, MOST_FOUND, find, find_past};
pub(in crate::policy) use self::number::{InMillionths, Number};
pub use self::operator::Operator;
pub(in crate::policy) use self::path::{Path, Root, RootSet, Step};
pub(in crate::policy) use self::plan::Plan;
pub(in crate::policy) use self::purpose::Use;
pub(in crate::policy) use self::regex::{Regexes, is_anchored};
pub(in crate::policy) use self::test::Test;
pub use self::truth::Truth;
pub(in crate::policy) use self::value::{HELP_UNREADABLE, UNREADABLE, value_of};
pub(in crate::policy) use self::walk::{Roots, Truths, evaluate};

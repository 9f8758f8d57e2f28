//! A strict one-pass JSON reader over a byte slice.
//!
//! Whatever two JSON parsers could read differently is an error here, so that
//! the bytes that were judged mean the same to whoever receives them. Nothing
//! is copied: values are spans of the input.

pub(crate) mod canonical;
mod error;
mod keys;
mod plain;
mod reader;
mod scan;
mod splice;
mod string;
pub(crate) mod tree;
pub(crate) mod write;

pub(crate) use error::{Error, ErrorKind};
pub(crate) use reader::{Kind, Profile, Reader, Utf8, Written};
pub(crate) use splice::{Edit, splice};

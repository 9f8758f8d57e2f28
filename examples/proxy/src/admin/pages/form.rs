//! What a form of a page says.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::body::Body;
use tower::BoxError;

use super::super::api::{self, Refusal};

/// The fields of a form.
pub(super) struct Form(Bytes);

impl Form {
    /// Of at most so many bytes.
    pub(super) async fn read<B>(body: B, most: usize) -> Result<Self, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        Ok(Self(api::whole(body, most).await?))
    }

    /// The fields of the query of a URL.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        Self(Bytes::copy_from_slice(query.unwrap_or_default().as_bytes()))
    }

    /// A field; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> Cow<'_, str> {
        self.find(name).unwrap_or_default()
    }

    /// A field, if it is there.
    pub(super) fn find(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut all = form_urlencoded::parse(&self.0);
        all.find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// All that is said for a name.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = Cow<'f, str>> {
        let all = form_urlencoded::parse(&self.0);
        all.filter(move |(found, _)| found == name)
            .map(|(_, value)| value)
    }
}

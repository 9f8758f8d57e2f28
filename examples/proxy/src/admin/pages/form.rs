//! What a form of a page says.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::body::Body;
use tower::BoxError;

use super::super::api::{self, Refusal};

/// The fields of a form.
pub(super) struct Form(Bytes);

impl Form {
    pub(super) async fn read<B>(body: B) -> Result<Self, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        Ok(Self(api::whole(body).await?))
    }

    /// The fields of the query of a URL.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        Self(Bytes::copy_from_slice(query.unwrap_or_default().as_bytes()))
    }

    /// A field; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> Cow<'_, str> {
        form_urlencoded::parse(&self.0)
            .find(|(found, _)| found == name)
            .map(|(_, value)| value)
            .unwrap_or_default()
    }
}

//! Limits that are in use.

use askama::Template;
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Body;
use tower::BoxError;

use super::{
    super::api::{self, Refusal},
    Page, Pages,
    form::Form,
    frame::{Frame, Here},
    sessions::Visitor,
};
use crate::page;

#[derive(Template)]
#[template(path = "limits.html")]
struct Limits<'a> {
    frame: Frame<'a>,
}

impl Pages {
    pub(super) async fn limits(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        let _ = (path, query);
        let frame = Frame::new(visitor, Here::Limits);
        Ok(page::html(StatusCode::OK, &Limits { frame }))
    }

    pub(super) async fn change_limits<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let _ = request;
        Err(api::nothing_here())
    }
}

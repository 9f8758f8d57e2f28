//! Who may use which server.

use askama::Template;
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Body;
use tower::BoxError;

use super::{
    super::api::{self, Refusal},
    Page, Pages,
    frame::{Frame, Here},
    sessions::Visitor,
};
use crate::page;

#[derive(Template)]
#[template(path = "grants.html")]
struct Grants<'a> {
    frame: Frame<'a>,
}

impl Pages {
    pub(super) async fn grants(&self, visitor: &Visitor, path: &str) -> Result<Page, Refusal> {
        let _ = path;
        let frame = Frame::new(visitor, Here::Grants);
        Ok(page::html(StatusCode::OK, &Grants { frame }))
    }

    pub(super) async fn change_grants<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let _ = request;
        Err(api::nothing_here())
    }
}

//! The policies, and where they are changed.

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
#[template(path = "policies.html")]
struct Policies<'a> {
    frame: Frame<'a>,
}

impl Pages {
    pub(super) async fn policies(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        let _ = (path, query);
        let frame = Frame::new(visitor, Here::Policies);
        Ok(page::html(StatusCode::OK, &Policies { frame }))
    }

    pub(super) async fn change_policy<B>(&self, request: Request<B>) -> Result<Page, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let _ = request;
        Err(api::nothing_here())
    }
}

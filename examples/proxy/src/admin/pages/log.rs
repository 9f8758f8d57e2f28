//! What was decided.

use askama::Template;
use http::StatusCode;

use super::{
    super::api::Refusal,
    Page, Pages,
    form::Form,
    frame::{Frame, Here},
    sessions::Visitor,
};
use crate::page;

#[derive(Template)]
#[template(path = "log.html")]
struct Log<'a> {
    frame: Frame<'a>,
}

impl Pages {
    pub(super) async fn log(
        &self,
        visitor: &Visitor,
        path: &str,
        query: &Form,
    ) -> Result<Page, Refusal> {
        let _ = (path, query);
        let frame = Frame::new(visitor, Here::Log);
        Ok(page::html(StatusCode::OK, &Log { frame }))
    }
}

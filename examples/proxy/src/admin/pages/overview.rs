//! What there is, what happens, and what has changed.

use askama::Template;
use http::StatusCode;

use super::{
    super::api::Refusal,
    Page, Pages,
    frame::{Frame, Here},
    sessions::Visitor,
};
use crate::page;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    frame: Frame<'a>,
}

impl Pages {
    pub(super) async fn overview(&self, visitor: &Visitor) -> Result<Page, Refusal> {
        let frame = Frame::new(visitor, Here::Overview);
        Ok(page::html(StatusCode::OK, &Overview { frame }))
    }
}

//! Which tools somebody wants to see.

use mcp_policy::RiskCategory;

use super::{
    super::{form::Form, words::link},
    PATH,
    verdict::Kind,
};

/// Characters of a text that is looked for.
const LONGEST: usize = 200;

/// What the query of the page says.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) server: String,
    pub(super) text: String,
    pub(super) risk: Option<RiskCategory>,
    pub(super) verdict: Option<Kind>,
    /// From 1 on.
    pub(super) page: usize,
}

impl Wanted {
    pub(super) fn of(query: &Form) -> Self {
        let (risk, verdict) = (query.get("risk"), query.get("verdict"));
        Self {
            server: query.get("server").into_owned(),
            text: query.get("text").trim().chars().take(LONGEST).collect(),
            risk: risk.parse().ok(),
            verdict: Kind::ALL.into_iter().find(|one| one.name() == verdict),
            page: query.get("page").parse().unwrap_or(1).max(1),
        }
    }

    /// Whether all of the tools are.
    pub(super) fn is_everything(&self) -> bool {
        self.server.is_empty()
            && self.text.is_empty()
            && self.risk.is_none()
            && self.verdict.is_none()
    }

    /// Whether the name or the description has the text.
    pub(super) fn is_found_in(&self, name: &str, description: &str) -> bool {
        let text = self.text.to_lowercase();
        let has = |place: &str| place.to_lowercase().contains(&text);
        text.is_empty() || has(name) || has(description)
    }

    /// The same on another page, as a URL.
    pub(super) fn on(&self, page: usize) -> String {
        let page = match page {
            0 | 1 => String::new(),
            page => page.to_string(),
        };
        let fields = [
            ("server", &*self.server),
            ("text", &*self.text),
            ("risk", self.risk.map_or("", RiskCategory::as_str)),
            ("verdict", self.verdict.map_or("", Kind::name)),
            ("page", &*page),
        ];
        link(PATH, &fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_what_the_url_says() {
        for url in [
            "/tools",
            "/tools?server=a+%26b&text=%3Cx%3E&risk=read&verdict=asks&page=3",
        ] {
            let query = url.split_once('?').map(|(_, query)| query);
            let wanted = Wanted::of(&Form::of_query(query));
            assert_eq!(wanted.on(wanted.page), url);
        }
        let query = "risk=none&verdict=1&page=-1&server=";
        let wanted = Wanted::of(&Form::of_query(Some(query)));
        assert!(wanted.is_everything() && wanted.page == 1);
    }

    #[test]
    fn text_is_found_whatever_its_case() {
        let wanted = Wanted::of(&Form::of_query(Some("text=Refund")));
        assert!(wanted.is_found_in("REFUND_all", "") && wanted.is_found_in("a", "It refunds."));
        assert!(!wanted.is_found_in("pay", "It pays."));
    }
}

//! Whether a template of resources is listed.

use std::sync::Arc;

use super::Policy;
use super::compile::Rules;
use super::decide::Names;
use super::decision::Outcome;
use super::document::DefaultAction;
use super::pattern::Pattern;
use super::pins::Seen;
use super::section::{Entry, Section};
use super::uri;

impl Policy {
    /// Whether a template of resources (RFC 6570) may be seen in a list: unless
    /// every expansion of it is hidden.
    ///
    /// Of the template only what stands before its first and behind its last
    /// expression counts; anything may be between. So a template is left out
    /// only if surely all expansions are hidden; under `"default": "hide"` it
    /// is there only if an entry that is not hidden could match one.
    pub(crate) fn shows_template(&self, uri_template: &str) -> bool {
        self.inner.rules.shows_template(uri_template)
    }
}

impl Rules {
    fn shows_template(&self, template: &str) -> bool {
        let shows = |around: (&str, Option<&str>)| match around {
            (uri, None) => {
                let said = self.judge(&self.resources, uri, Names::All, Seen::default());
                said.outcome() != Outcome::Hide
            }
            (prefix, Some(suffix)) => self.shows_any_between(prefix, suffix),
        };
        let (prefix, suffix) = around(template);
        // Clients differ in whether they escape the text of a template.
        let escaped = (uri::escaped(prefix), suffix.map(uri::escaped));
        shows((prefix, suffix)) || shows((&escaped.0, escaped.1.as_deref()))
    }

    /// Whether any URI that begins and ends so is not hidden.
    fn shows_any_between(&self, prefix: &str, suffix: &str) -> bool {
        let section = &self.resources;
        let by_default = self.default == DefaultAction::Hide;
        let prefix = &*uri::spelled_beginning(prefix);
        if !by_default && !section.hides_any() {
            return true;
        }
        if section.shows_exactly(prefix, suffix) {
            return true;
        }
        // What is not canonical is hidden, unless it is named exactly.
        if uri::is_hopeless_beginning(prefix) || uri::is_never_inside(suffix) {
            return false;
        }
        !section.hides_all_between(prefix, suffix)
            && (!by_default || section.shows_pattern(prefix, suffix))
    }
}

impl Section {
    /// Whether an entry that does not hide is for exactly one such URI.
    fn shows_exactly(&self, prefix: &str, suffix: &str) -> bool {
        let start = self
            .shown
            .partition_point(|entry| entry.exact().as_bytes() < prefix.as_bytes());
        let from_there = self.shown.get(start..).unwrap_or_default().iter();
        from_there
            .map_while(|entry| entry.exact().strip_prefix(prefix))
            .any(|rest| ends_like(rest, suffix))
    }

    /// Whether a pattern that does not hide matches such a URI.
    fn shows_pattern(&self, prefix: &str, suffix: &str) -> bool {
        self.entries
            .beginning_like(prefix.as_bytes())
            .any(|(pattern, entry)| {
                let other = pattern.suffix();
                !entry.rule.hides()
                    && (ends_like(other, suffix) || ends_like(suffix, other))
                    && !uri::is_hopeless(pattern)
                    && !self.entries.cover(pattern, hides)
            })
    }

    /// Whether a pattern surely hides all of them.
    fn hides_all_between(&self, prefix: &str, suffix: &str) -> bool {
        let all = Pattern::between(prefix.to_owned(), suffix.to_owned());
        let look = uri::look_around(prefix, suffix);
        self.entries.cover(&all, hides) || self.like_hidden.cover(&look, |()| true)
    }
}

fn hides(entry: &Arc<Entry>) -> bool {
    entry.rule.hides()
}

/// The end of a template can be part of a host, so case does not count.
fn ends_like(text: &str, suffix: &str) -> bool {
    let start = text.len().checked_sub(suffix.len());
    let end = start.and_then(|start| text.as_bytes().get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

/// What stands before the first expression, and behind the last one; a template
/// without any is all before. Where braces do not pair, nothing is certain of
/// the end.
fn around(template: &str) -> (&str, Option<&str>) {
    match template.split_once('{') {
        None => (template, None),
        Some((prefix, rest)) => {
            let suffix = rest.rsplit_once('}').map_or("", |(_, suffix)| suffix);
            let pairs = !suffix.contains('{');
            (prefix, Some(if pairs { suffix } else { "" }))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Action;
    use super::*;

    fn policy(default: &str, entries: &str) -> Policy {
        format!(r#"{{"version":"1","default":"{default}","resources":{entries}}}"#)
            .parse()
            .unwrap_or_else(|error| panic!("{entries}\n{error}"))
    }

    #[test]
    fn hidden_only_if_every_expansion_is() {
        let entries = r#"{ "x://secret/*": {"action":"hide"}, "x://secret/known": {}, "*.key": {"action":"hide"},
                           "file:///Top/*": {"action":"hide"}, "x://d/*": {"action":"deny"} }"#;
        for default in ["deny", "allow"] {
            let policy = policy(default, entries);
            for (template, shown) in [
                ("x://open/{id}", true),
                ("x://{id}", true),
                ("{+uri}", true),
                ("x://d/{id}", true),
                // An exact entry shows one expansion.
                ("x://secret/{id}", true),
                ("x://secret/k{id}n", true),
                ("X://SECRET/{id}", true),
                ("x://secret/z{id}", false),
                ("x://secret/{id}/z", false),
                ("X://Secret/z{id}", false),
                ("x://secret/a/{id}{?q}", false),
                ("x://secret{id}", true),
                ("x://sec{id}", true),
                ("file:///Top/{+path}", false),
                ("FILE:///top/{+path}", false),
                ("file:///To{+path}", true),
                ("file:///{name}.key", false),
                ("{name}.key", false),
                ("{name}key", true),
                // No canonical URI at all.
                ("file:///Top/../{name}", false),
                ("file:/{name}", true),
                ("file:/a{name}", false),
                ("x://a/{name}#b", false),
                ("x:/%2e/{name}", false),
                // No expression: it is its own expansion.
                ("x://secret/known", true),
                ("x://secret/other", false),
                ("x://open/a", true),
                // Braces that do not pair.
                ("x://secret/z{id", false),
                ("x://open/}{id", true),
                ("x://secret/z{a}{b.key", false),
                ("", false),
            ] {
                assert_eq!(
                    policy.shows_template(template),
                    shown,
                    "{template} {default}"
                );
            }
        }
    }

    #[test]
    fn under_hide_only_where_an_entry_that_shows_could_match() {
        let policy = policy(
            "hide",
            r#"{ "x://open/*": {}, "x://deny/*": {"action":"deny"}, "x://one/a": {}, "x://open/secret/*": {"action":"hide"},
                 "y://*.Example.com/a/*": {}, "*.txt": {}, "z://\u00e9/*": {}, "x://gone/*": {"action":"hide"},
                 "x://gone/longer/*": {}, "w://a#*": {}, "v://gone/x": {"action":"hide"} }"#,
        );
        for (template, shown) in [
            ("x://open/{id}", true),
            ("x://open{id}", true),
            ("x://{id}", true),
            ("{+uri}", true),
            ("x://deny/{id}", true),
            ("x://one/{id}", true),
            ("x://one/b{id}", true), // It could end in `.txt`.
            ("x://one/b{id}/c", false),
            ("x://one/{id}/c", false),
            ("x://open/secret/{id}", false),
            ("x://open/Secret/{id}", false),
            ("x://open/{id}/c", true),
            ("y://{host}.EXAMPLE.com/a/{id}/c", true),
            ("Y://{host}.txt", true),
            ("z://\u{e9}/{id}/c", true),
            ("z://%C3%A9/{id}/c", false),
            ("x://gone/{id}/c", false),
            ("w://a#{id}/c", false),
            ("v://gone/{id}x", false),
            ("x://open/a", true),
            ("x://nothing/a", false),
            ("x://nothing/{id}/c", false),
        ] {
            assert_eq!(policy.shows_template(template), shown, "{template}");
        }
    }

    #[test]
    fn without_anything_hidden_all_are_shown() {
        for policy in [
            policy("deny", r#"{"x:*":{"action":"deny"}}"#),
            policy("allow", "{}"),
        ] {
            assert!(!policy.can_hide_resources());
            for template in ["", "x:{a}", "file:/../{a}#", "{", "}"] {
                assert!(policy.shows_template(template), "{template}");
            }
        }
    }

    #[test]
    fn each_section_can_hide_on_its_own() {
        let can_hide = |default: &str, members: &str| {
            let text = format!(r#"{{"version":"1","default":"{default}",{members}}}"#);
            let policy: Policy = text.parse().unwrap();
            [
                policy.can_hide_tools(),
                policy.can_hide_resources(),
                policy.can_hide_prompts(),
            ]
        };
        for default in ["allow", "deny"] {
            for (members, expected) in [
                (r#""hide":["x"]"#, [true, false, false]),
                (r#""tools":{"x:y":{"action":"hide"}}"#, [true, false, false]),
                (
                    r#""resources":{"x:y":{"action":"hide"}}"#,
                    [false, true, false],
                ),
                (
                    r#""resources":{"x:*":{"action":"hide"}}"#,
                    [false, true, false],
                ),
                (r#""prompts":{"x":{"action":"hide"}}"#, [false, false, true]),
                (
                    r#""prompts":{"x*":{"action":"deny"}}"#,
                    [false, false, false],
                ),
            ] {
                assert_eq!(can_hide(default, members), expected, "{members}");
            }
        }
        assert_eq!(can_hide("hide", r#""prompts":{"x":{}}"#), [true; 3]);
    }

    /// An expression, and what it can expand to.
    const EXPRESSIONS: &[(&str, &[&str])] = &[
        ("{v}", &["", "a", "b", "ab", "%20", "%C3%A9", "%CC%81"]),
        (
            "{+v}",
            &[
                "", "a", "b", "a/b", "/", "..", "../a", "a?b", "?", "b/", "%20", "%2e", "\u{301}",
            ],
        ),
        ("{#v}", &["", "#", "#a", "#/b"]),
        ("{/v}", &["", "/", "/a", "/a/b"]),
        ("{.v}", &["", ".", ".a", ".a.b"]),
        ("{;v}", &["", ";v", ";v=a"]),
        ("{?v}", &["", "?v=", "?v=a"]),
        ("{&v}", &["", "&v=b"]),
    ];

    fn template() -> impl Strategy<Value = (String, Vec<String>)> {
        let literal = "(|x:|X:/|x:/[abAB]|[abAB/]{0,2}|[ab]\\.?|e|\u{e9}| |\\?|%2e)";
        let expression = prop::option::weighted(0.7, prop::sample::select(EXPRESSIONS));
        prop::collection::vec((literal, expression), 1..4).prop_map(|parts| {
            let mut template = String::new();
            let mut expansions = vec![String::new()];
            for (literal, expression) in parts {
                template += &literal;
                let (text, values) = expression.unwrap_or(("", &[""]));
                template += text;
                expansions = expansions
                    .iter()
                    .flat_map(|start| values.iter().map(move |value| (start, value)))
                    .map(|(start, value)| format!("{start}{literal}{value}"))
                    .collect();
            }
            (template, expansions)
        })
    }

    fn entries() -> impl Strategy<Value = String> {
        let key = "(x:|X:/|x:/[abAB]|\\*)([abAB/e\u{e9}]|\\*|\\?){0,4}";
        let action = prop::sample::select(vec!["allow", "deny", "hide", "hide"]);
        prop::collection::btree_map(key, action, 0..5).prop_map(|entries| {
            let members: Vec<String> = entries
                .iter()
                .map(|(key, action)| format!(r#""{key}":{{"action":"{action}"}}"#))
                .collect();
            format!("{{{}}}", members.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_is_not_shown_has_no_expansion_that_is(
            default in prop::sample::select(vec!["allow", "deny", "hide"]),
            entries in entries(),
            (template, expansions) in template(),
        ) {
            let text = format!(r#"{{"version":"1","default":"{default}","resources":{entries}}}"#);
            if let Ok(policy) = text.parse::<Policy>() {
                let shown = policy.shows_template(&template);
                prop_assert!(shown || policy.can_hide_resources());
                if !shown {
                    for uri in &expansions {
                        for uri in [uri.as_str(), &*uri::escaped(uri)] {
                            let decision = policy.decide(&Action::read_resource(uri));
                            prop_assert_eq!(decision.outcome(), Outcome::Hide, "{} {}", &template, uri);
                        }
                    }
                }
            }
        }

        #[test]
        fn under_hide_what_is_shown_has_one_that_is(
            patterns in prop::collection::btree_set("x:/[ab]{0,2}\\*[ab]{0,2}", 0..3),
            names in prop::collection::btree_set("x:/[ab/]{0,4}", 0..3),
            prefix in "x:/[ab]{0,3}",
            suffix in "[ab]{0,3}",
        ) {
            let members: Vec<String> = patterns.iter().chain(&names).map(|key| format!(r#""{key}":{{}}"#)).collect();
            let text = format!(r#"{{"version":"1","default":"hide","resources":{{{}}}}}"#, members.join(","));
            if let Ok(policy) = text.parse::<Policy>() {
                let mut between = vec![String::new()];
                for length in 0..5 {
                    let longer: Vec<String> = between.iter().filter(|text| text.len() == length)
                        .flat_map(|text| ["a", "b", "/"].map(|c| format!("{text}{c}"))).collect();
                    between.extend(longer);
                }
                let shown = between.iter().any(|text| {
                    let uri = format!("{prefix}{text}{suffix}");
                    policy.decide(&Action::read_resource(&uri)).outcome() != Outcome::Hide
                });
                prop_assert_eq!(policy.shows_template(&format!("{prefix}{{+v}}{suffix}")), shown);
            }
        }
    }
}

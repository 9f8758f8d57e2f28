//! What holds for every document and every name, through the public API.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::executor::block_on;
use http::{Request, Response};
use http_body_util::Full;
use mcp_policy::{
    Action, Amount, Approver, Check, Condition, Decision, DefaultAction, Instructions, Limit,
    LimitScope, LimitWindow, ListedTools, MaxConcurrent, MethodRule, Mode, OnStoreError, Operator,
    Outcome, Policy, PolicyDocument, PolicyLayer, RateLimit, RequireApproval, RiskCategory, Rule,
    RuleAction, Unwrap, WindowReset,
};
use proptest::prelude::*;
use serde_json::json;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// What conditions can say of the calls below.
const CONDITIONS: [(&str, Operator, &str); 18] = [
    ("args.a", Operator::Eq, "1"),
    ("args.a", Operator::Neq, r#""x""#),
    ("args.a", Operator::Lt, "1.5"),
    ("args.a", Operator::Gte, "-1"),
    (
        "args[\"b\"][*]",
        Operator::In,
        r#"["x", 1, null, [1], {"k": 0.5}]"#,
    ),
    ("args.b[0].c", Operator::NotIn, r#"["x"]"#),
    ("args.a", Operator::Regex, r#""^x+$""#),
    ("args.b", Operator::Contains, r#""x""#),
    ("args.c", Operator::Exists, "false"),
    ("args.a", Operator::StartsWith, r#""x""#),
    ("args.a", Operator::EndsWith, r#""\u00e9\n""#),
    ("args", Operator::KeysIn, r#"["a", "b"]"#),
    ("args.b", Operator::LengthLte, "1"),
    ("args.a", Operator::PathWithin, r#"["/srv", "x"]"#),
    ("args.a", Operator::HostIn, r#"[".dev", "a.test:81"]"#),
    ("caller.id", Operator::Eq, r#""(anonymous)""#),
    ("caller.claims.team", Operator::Exists, "true"),
    ("args", Operator::Eq, r#"{"a": 1, "b": [{"c": true}]}"#),
];

const ARGUMENTS: [&str; 12] = [
    "{}",
    r#"{"a":1}"#,
    r#"{"a":"x","b":["x",1]}"#,
    r#"{"b":[{"c":true}],"a":1.0}"#,
    r#"{"A":1}"#,
    r#"{"a":"xx","A":1}"#,
    r#"{"a":1.00000000000000000001,"b":[]}"#,
    r#"{"a":"https://h.dev/x","c":null}"#,
    r#"{"a":"/srv/../etc"}"#,
    r#"{"b":"x","c":{}}"#,
    r#"{"a":"a","b":{"a":1}}"#,
    r#"{"a":"b","b":"{\"a\":\"a\",\"b\":{}}"}"#,
];

/// What a server says of its tools.
const DESCRIPTIONS: [&str; 5] = [
    "Reads it.",
    "Deletes everything for good.",
    "Runs a command.",
    "",
    "Pays an invoice.",
];

fn condition() -> impl Strategy<Value = Condition> {
    prop::sample::select(&CONDITIONS[..]).prop_map(|(path, operator, value)| {
        let value: serde_json::Value = serde_json::from_str(value).unwrap();
        Condition::new(path, operator, value)
    })
}

fn checks() -> impl Strategy<Value = Vec<Check>> {
    let conditions = prop::collection::vec(condition(), 0..3);
    let name = prop::option::of("[a-z/~]{1,3}");
    let check = (conditions, prop::option::of("[a-z ]{0,3}"), name);
    let check = check.prop_map(|(conditions, on_deny, name)| {
        let mut check = Check::new(conditions);
        check.on_deny = on_deny;
        check.name = name;
        check
    });
    prop::collection::vec(check, 0..3)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Enforce, Mode::Enforce, Mode::Shadow])
}

fn window() -> impl Strategy<Value = LimitWindow> {
    let named = prop::sample::select(vec![
        LimitWindow::MINUTE,
        LimitWindow::HOUR,
        LimitWindow::DAY,
    ]);
    prop_oneof![named, (1..=2_678_400_u32).prop_map(LimitWindow::from_secs)]
}

/// One of which every reader takes the number for the same.
fn amount() -> impl Strategy<Value = Amount> {
    let millionths = prop_oneof![
        0..5_000_000_u64,
        0..1_000_000_000_000_000_u64,
        (0..=9_000_000_000_000_u64).prop_map(|whole| whole * 1_000_000),
    ];
    millionths.prop_map(Amount::from_millionths)
}

fn scope() -> impl Strategy<Value = LimitScope> {
    prop::sample::select(vec![
        LimitScope::Session,
        LimitScope::Caller,
        LimitScope::Server,
    ])
}

/// What a rule may count, which is by arguments if it has some.
#[derive(Clone, Debug)]
struct Counts {
    limits: Vec<Limit>,
    rate_limit: Option<RateLimit>,
    max_concurrent: Option<MaxConcurrent>,
}

impl Counts {
    fn write(self, rule: &mut Rule, has_arguments: bool) {
        rule.limits = self.limits;
        rule.rate_limit = self.rate_limit;
        rule.max_concurrent = self.max_concurrent;
        for path in rule
            .limits
            .iter_mut()
            .filter_map(|limit| limit.increment_from.as_mut())
        {
            if !has_arguments {
                "caller.claims.weight".clone_into(path);
            }
        }
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    let increment = prop_oneof![
        3 => Just((None, None)),
        1 => amount().prop_map(|amount| (Some(amount), None)),
        1 => prop::sample::select(vec!["args.a", "args.b[*]", "args.b[0].c", "caller.claims.n"])
            .prop_map(|path| (None, Some(path.to_owned()))),
    ];
    let sessions = prop::option::of(1..=1_000_u32);
    let rest = (
        any::<bool>(),
        sessions,
        any::<bool>(),
        prop::option::of("[a-z ]{0,3}"),
    );
    (window(), amount(), scope(), increment, rest).prop_map(
        |(window, max, scope, increment, (calendar, sessions, allows, on_deny))| {
            let mut limit = Limit::new("", window, max);
            limit.scope = scope;
            (limit.increment, limit.increment_from) = increment;
            let named =
                [LimitWindow::MINUTE, LimitWindow::HOUR, LimitWindow::DAY].contains(&window);
            limit.reset = if named && calendar {
                WindowReset::Calendar
            } else {
                WindowReset::Rolling
            };
            limit.sessions = sessions.filter(|_| scope == LimitScope::Session);
            limit.on_store_error = if allows {
                OnStoreError::Allow
            } else {
                OnStoreError::Deny
            };
            limit.on_deny = on_deny;
            limit
        },
    )
}

fn counts() -> impl Strategy<Value = Counts> {
    let limits = prop::collection::btree_map("[a-q/~\u{e9}]{1,3}", limit(), 0..3);
    let rate = prop::option::weighted(0.2, (amount(), window(), scope()));
    let concurrent = prop::option::weighted(0.2, (1..=10_000_u32, scope()));
    (limits, rate, concurrent).prop_map(|(limits, rate, concurrent)| Counts {
        limits: limits
            .into_iter()
            .map(|(counter, mut limit)| {
                limit.counter = counter;
                limit
            })
            .collect(),
        rate_limit: rate.map(|(max, window, scope)| {
            let mut rate = RateLimit::new(max, window);
            rate.scope = scope;
            rate
        }),
        max_concurrent: concurrent.map(|(max, scope)| {
            let mut concurrent = MaxConcurrent::new(max);
            concurrent.scope = scope;
            concurrent
        }),
    })
}

/// Seldom any: what cannot be counted is refused, and little else would be seen.
fn some_counts() -> impl Strategy<Value = Option<Counts>> {
    prop::option::weighted(0.3, counts())
}

/// Which calls a rule of tools or prompts asks about.
fn approval() -> impl Strategy<Value = RequireApproval> {
    let text = prop::option::of("[a-z ]{0,3}");
    let expires = prop::option::of(1..=604_800_u32);
    let conditions = prop::collection::vec(condition(), 0..3);
    (conditions, text, expires, any::<bool>()).prop_map(
        |(conditions, reason, expires, by_operator)| {
            let mut approval = RequireApproval::default();
            approval.conditions = conditions;
            approval.reason = reason;
            approval.expires = expires;
            approval.approver = match by_operator {
                true => Approver::Operator,
                false => Approver::Caller,
            };
            approval
        },
    )
}

fn some_approval() -> impl Strategy<Value = Option<RequireApproval>> {
    prop::option::weighted(0.3, approval())
}

/// A rule of tools or prompts.
fn rule(for_tools: bool) -> impl Strategy<Value = Rule> {
    let action = prop::sample::select(vec![
        RuleAction::Allow,
        RuleAction::Allow,
        RuleAction::Deny,
        RuleAction::Hide,
        RuleAction::RequireApproval,
    ]);
    let text = || prop::option::of("[a-z\u{e9}\"\\\\\n]{0,4}");
    let unwraps = prop::bool::weighted(if for_tools { 0.2 } else { 0.0 });
    let rest = (text(), text(), mode(), some_counts(), some_approval());
    (action, checks(), checks(), unwraps, rest).prop_map(
        |(action, require, deny_if, unwraps, (reason, description, mode, counts, approval))| {
            let mut rule = Rule::allow();
            rule.action = action;
            rule.reason = reason;
            rule.description = description;
            rule.mode = mode;
            rule.require_approval = approval.filter(|_| action == RuleAction::Allow);
            if passes_by(action) {
                rule.require = require;
                rule.deny_if = deny_if;
                if let Some(counts) = counts {
                    counts.write(&mut rule, true);
                }
                rule.unwrap = unwraps.then(|| Unwrap::new("args.a", "args.b"));
            }
            rule
        },
    )
}

/// Whether a rule with this action can look at more than the name.
fn passes_by(action: RuleAction) -> bool {
    matches!(action, RuleAction::Allow | RuleAction::RequireApproval)
}

/// A rule of resources, of whose conditions there is one.
fn resource_rule() -> impl Strategy<Value = Rule> {
    (rule(false), prop::bool::ANY, some_counts()).prop_map(|(mut rule, looks, counts)| {
        let condition = Condition::new("resource.uri", Operator::Contains, "a");
        rule.require.clear();
        rule.deny_if.clear();
        let counts = counts.filter(|_| passes_by(rule.action));
        for condition in rule
            .require_approval
            .iter_mut()
            .flat_map(|approval| &mut approval.conditions)
        {
            *condition = Condition::new("resource.uri", Operator::Contains, "b");
        }
        let none = Counts {
            limits: Vec::new(),
            rate_limit: None,
            max_concurrent: None,
        };
        counts.unwrap_or(none).write(&mut rule, false);
        if looks && passes_by(rule.action) {
            rule.deny_if.push(Check::new([condition]));
        }
        rule
    })
}

fn all_tools() -> impl Strategy<Value = Option<Rule>> {
    let rule = (checks(), checks(), mode(), some_counts(), some_approval());
    let rule = rule.prop_map(|(require, deny_if, mode, counts, approval)| {
        let mut rule = Rule::allow();
        if let Some(counts) = counts {
            counts.write(&mut rule, true);
        }
        rule.require = require;
        rule.deny_if = deny_if;
        rule.mode = mode;
        rule.require_approval = approval;
        rule
    });
    prop::option::weighted(0.3, rule)
}

fn document() -> impl Strategy<Value = PolicyDocument> {
    let name = r"([abAB _\u{e9}~/]|\*|\\\*|\\\\){1,5}";
    let defaults = vec![
        DefaultAction::Allow,
        DefaultAction::Deny,
        DefaultAction::Hide,
    ];
    let modes = prop::sample::select(vec![Mode::Enforce, Mode::Enforce, Mode::Shadow]);
    let instructions = prop::sample::select(vec![Instructions::Pass, Instructions::Strip]);
    let method = prop::sample::select(vec![MethodRule::Allow, MethodRule::Deny]);
    (
        (prop::sample::select(defaults), modes, instructions),
        prop::option::of(".{0,4}"),
        prop::collection::vec(name, 0..3),
        all_tools(),
        prop::collection::btree_map(name, rule(true), 0..5),
        // No two that are the same once scheme and host are in lower case.
        prop::collection::btree_map(
            r"x:(//[ab])?/([abAB%\u{e9}/]|\*){1,4}",
            resource_rule(),
            0..4,
        ),
        prop::collection::btree_map(name, rule(false), 0..3),
        prop::collection::btree_map("[xyXY]{1,2}/", method, 0..3),
        prop::collection::btree_map(
            prop::sample::select(&RiskCategory::ALL[..]),
            rule(false),
            0..4,
        ),
    )
        .prop_map(
            |(
                (default, mode, instructions),
                text,
                hide,
                all_tools,
                tools,
                resources,
                prompts,
                methods,
                risk,
            )| {
                let mut document = PolicyDocument::new(default);
                document.schema = text.clone();
                document.name = text.clone();
                document.description = text;
                document.mode = mode;
                document.instructions = instructions;
                document.hide = hide;
                document.all_tools = all_tools;
                document.tools = tools;
                document.resources = resources;
                document.prompts = prompts;
                document.methods = methods;
                document.risk = risk;
                document
            },
        )
}

/// Every rule of a document.
fn rules(document: &mut PolicyDocument) -> impl Iterator<Item = &mut Rule> {
    let sections = [
        &mut document.tools,
        &mut document.resources,
        &mut document.prompts,
    ];
    let rules = sections
        .into_iter()
        .flat_map(|section| section.values_mut());
    let rules = rules.chain(document.risk.values_mut());
    rules.chain(&mut document.all_tools)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[abAB _\u{e9}*\u{200b}]{0,5}", 20)
}

/// Hands every kind of action on each of these names, with every kind of
/// arguments, to `each`.
fn for_each_action(
    names: &[String],
    mut each: impl FnMut(&Action<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let described = names.iter().zip(DESCRIPTIONS.iter().cycle());
    let tools: Vec<_> = described
        .map(|(name, description)| json!({ "name": name, "description": description }))
        .collect();
    let tools = ListedTools::of(&tools);
    for (name, arguments) in names.iter().zip(ARGUMENTS.iter().cycle()) {
        let uri = format!("X:/{name}");
        each(&Action::other_method(name))?;
        each(&Action::read_resource(&uri))?;
        each(&Action::complete_prompt(name))?;
        for action in [Action::call_tool(name), Action::get_prompt(name)] {
            let action = action.with_arguments(arguments).unwrap();
            each(&action)?;
            each(&action.with_tools(&tools))?;
        }
    }
    Ok(())
}

/// The members of every object in the opposite order.
fn reversed(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .rev()
                .map(|(key, value)| format!("{} :\n{}", Value::from(key.as_str()), reversed(value)))
                .collect();
            format!("{{\t{}\r\n}}", members.join(" ,\n"))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(reversed).collect();
            format!("[ {}\n]", items.join("\t,"))
        }
        value => value.to_string(),
    }
}

proptest! {
    #[test]
    fn a_document_survives_being_written_and_read(document in document()) {
        // Ties are refused, and nothing else can be wrong with these.
        match Policy::try_from(document.clone()) {
            Ok(policy) => {
                prop_assert_eq!(policy.document(), &document);
                let again: Policy = document.to_json_string().parse().unwrap();
                prop_assert_eq!(again.document(), &document);
            }
            Err(error) => {
                for diagnostic in error.diagnostics() {
                    prop_assert!(diagnostic.message().contains("same name"), "{}", error);
                }
            }
        }
    }

    #[test]
    fn key_order_and_white_space_change_nothing(document in document(), names in names()) {
        let text = document.to_json_string();
        let other = reversed(&serde_json::from_str(&text).unwrap());
        let (one, other) = (text.parse::<Policy>(), other.parse::<Policy>());
        prop_assert_eq!(one.is_ok(), other.is_ok());
        if let (Ok(one), Ok(other)) = (one, other) {
            prop_assert_eq!(one.document(), other.document());
            for_each_action(&names, |action| {
                prop_assert_eq!(one.decide(action), other.decide(action));
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_hidden_name_tells_nothing(document in document(), names in names()) {
        if let Ok(policy) = Policy::try_from(document) {
            for_each_action(&names, |action| {
                let decision = policy.decide(action);
                match decision.outcome() {
                    Outcome::Hide => {
                        prop_assert_eq!(decision.rule(), "(hidden)");
                        prop_assert_eq!(decision.reason(), None);
                    }
                    outcome => {
                        prop_assert_ne!(decision.rule(), "(hidden)");
                        let protocol = decision.rule() == "(protocol)";
                        prop_assert!(!protocol || policy.document().default == DefaultAction::Allow);
                        prop_assert_eq!(outcome == Outcome::Allow, decision.is_allowed());
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn what_is_explained_is_what_is_decided(document in document(), names in names()) {
        if let Ok(policy) = Policy::try_from(document) {
            for_each_action(&names, |action| {
                let explanation = policy.explain(action);
                prop_assert_eq!(explanation.decision(), &policy.decide(action));
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_document_in_shadow_allows_everything(mut document in document(), names in names()) {
        document.mode = Mode::Shadow;
        let Ok(tried) = Policy::try_from(document.clone()) else {
            return Ok(());
        };
        document.mode = Mode::Enforce;
        rules(&mut document).for_each(|rule| rule.mode = Mode::Enforce);
        let enforced = Policy::try_from(document).unwrap();
        for_each_action(&names, |action| {
            let (tried, enforced) = (tried.decide(action), enforced.decide(action));
            prop_assert!(tried.is_allowed(), "{:?}", tried);
            let told = tried.shadow().unwrap_or(&tried);
            prop_assert_eq!(told.outcome(), enforced.outcome());
            if !enforced.is_allowed() {
                prop_assert_eq!((told.rule(), told.reason()), (enforced.rule(), enforced.reason()));
            }
            Ok(())
        })?;
    }

    #[test]
    fn rules_in_shadow_refuse_nothing(mut document in document(), names in names()) {
        document.default = DefaultAction::Allow;
        document.hide.clear();
        document.methods = [("*".to_owned(), MethodRule::Allow)].into();
        rules(&mut document).for_each(|rule| rule.mode = Mode::Shadow);
        if let Ok(policy) = Policy::try_from(document) {
            for_each_action(&names, |action| {
                prop_assert!(policy.decide(action).is_allowed(), "{:?}", action);
                Ok(())
            })?;
        }
    }

    /// What is used up is something, of each quota once, of a call that is not refused.
    #[test]
    fn only_what_is_not_refused_is_used_up(document in document(), names in names()) {
        if let Ok(policy) = Policy::try_from(document) {
            for_each_action(&names, |action| {
                let decision = policy.decide(action);
                let mut ids: Vec<_> = decision.quotas().map(|(quota, _)| quota.id()).collect();
                prop_assert!(passes_at_last(decision.outcome()) || ids.is_empty());
                prop_assert!(decision.quotas().all(|(_, amount)| amount > Amount::ZERO));
                let count = ids.len();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), count);
                Ok(())
            })?;
        }
    }

    /// Lists, and what is said of a name alone, do not depend on limits.
    #[test]
    fn limits_hide_nothing(document in document(), names in names()) {
        let unlimited = without_limits(document.clone());
        let (Ok(limited), Ok(unlimited)) = (Policy::try_from(document), Policy::try_from(unlimited))
        else {
            return Ok(());
        };
        for_each_action(&names, |action| {
            let is_hidden = |policy: &Policy| policy.decide_name(action).outcome() == Outcome::Hide;
            prop_assert_eq!(is_hidden(&limited), is_hidden(&unlimited));
            let (one, other) = (limited.decide(action), unlimited.decide(action));
            prop_assert!(other.is_allowed() || !one.is_allowed(), "{:?}", action);
            Ok(())
        })?;
    }

    /// Where somebody is asked, all would pass if nobody were; and what is used up and
    /// what is seen is the same.
    #[test]
    fn approvals_refuse_nothing_that_is_not_refused_anyway(
        mut document in document(), names in names(),
    ) {
        // Whatever asks restricts something else, too, so that look-alikes are refused
        // all the same.
        let asks = |rule: &Rule| {
            rule.require_approval.is_some() || rule.action == RuleAction::RequireApproval
        };
        rules(&mut document).filter(|rule| asks(rule)).for_each(|rule| {
            rule.max_concurrent.get_or_insert(MaxConcurrent::new(1));
        });
        let mut silent = document.clone();
        rules(&mut silent).filter(|rule| asks(rule)).for_each(|rule| {
            rule.require_approval = None;
            rule.action = RuleAction::Allow;
        });
        let (Ok(policy), Ok(silent)) = (Policy::try_from(document), Policy::try_from(silent)) else {
            return Ok(());
        };
        for_each_action(&names, |action| {
            let (one, other) = (policy.decide(action), silent.decide(action));
            prop_assert_eq!(one.outcome() == Outcome::Ask, one.approval().is_some());
            if let Some(demand) = one.approval() {
                prop_assert!(other.is_allowed(), "{:?} {:?}", one, other);
                prop_assert_eq!(demand.rules().next(), Some(one.rule()));
                let spent = |decision: &Decision<'_>| -> Vec<_> {
                    let quotas = decision.quotas();
                    quotas.map(|(quota, amount)| (quota.place().to_owned(), amount)).collect()
                };
                prop_assert_eq!(spent(&one), spent(&other));
            } else {
                prop_assert_eq!(one.outcome(), other.outcome());
            }
            Ok(())
        })?;
    }

    /// What one rule in shadow lets pass is what it would refuse.
    #[test]
    fn shadow_only_allows(mut document in document(), names in names()) {
        let Ok(tried) = Policy::try_from(document.clone()) else {
            return Ok(());
        };
        document.mode = Mode::Enforce;
        rules(&mut document).for_each(|rule| rule.mode = Mode::Enforce);
        let enforced = Policy::try_from(document).unwrap();
        for_each_action(&names, |action| {
            prop_assert!(
                tried.decide(action).is_allowed() || !enforced.decide(action).is_allowed(),
                "{:?}", action
            );
            Ok(())
        })?;
    }
}

proptest! {
    // Each case makes two policies and ten services.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Only what both let pass comes through two of them. What is used up is no
    /// matter of the policy alone.
    #[test]
    fn two_policies_are_their_intersection(
        outer in document().prop_map(without_limits),
        inner in document().prop_map(without_limits),
        names in prop::collection::vec("[abAB_]{1,3}", 5),
    ) {
        let (Ok(outer), Ok(inner)) = (Policy::try_from(outer), Policy::try_from(inner)) else {
            return Ok(());
        };
        for (name, arguments) in names.iter().zip(ARGUMENTS.iter().cycle()) {
            let call = Action::call_tool(name).with_arguments(arguments).unwrap();
            let both = outer.decide(&call).is_allowed() && inner.decide(&call).is_allowed();
            let passes = passes(&outer, &inner, name, arguments);
            prop_assert_eq!(passes, both, "{} {}", name, arguments);
        }
    }
}

fn without_limits(mut document: PolicyDocument) -> PolicyDocument {
    rules(&mut document).for_each(|rule| {
        rule.limits.clear();
        rule.rate_limit = None;
        rule.max_concurrent = None;
    });
    document
}

/// Whether it is allowed, now or once it is approved.
fn passes_at_last(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Allow | Outcome::Ask)
}

/// Whether the server behind two layers is called.
fn passes(outer: &Policy, inner: &Policy, name: &str, arguments: &str) -> bool {
    let called = Arc::new(AtomicBool::new(false));
    let call = Arc::clone(&called);
    let server = service_fn(move |_: Request<_>| {
        call.store(true, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let server = PolicyLayer::new(inner.clone()).layer(server);
    let server = PolicyLayer::new(outer.clone()).layer(server);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
    );
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    drop(block_on(server.oneshot(request)).unwrap());
    called.load(Ordering::Relaxed)
}

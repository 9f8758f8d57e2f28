//! Names that are easily taken for something else.

mod definitions;

use serde_json::{Value, json};

use super::RiskCategory::{self, Destructive, Execute, Financial, Read, Unknown, Write};
use super::{Assessment, Confidence, Siblings, ToolDefinition, classify};

fn of(tool: Value) -> Assessment {
    let tool = ToolDefinition::from_value(&tool).unwrap();
    classify(&tool, &Siblings::default())
}

fn named(name: &str) -> RiskCategory {
    classify(&ToolDefinition::named(name), &Siblings::default()).category()
}

/// A tool with these arguments.
fn taking(name: &str, properties: Value) -> Assessment {
    of(json!({ "name": name, "inputSchema": { "type": "object", "properties": properties } }))
}

#[test]
fn two_things_that_are_done_are_both_seen() {
    for name in [
        "get_and_delete",
        "getAndDelete",
        "get-or-delete",
        "read_then_purge",
    ] {
        assert_eq!(named(name), Destructive, "{name}");
    }
    assert_eq!(named("get_or_create_label"), Write);
    assert_eq!(named("pause_resume_cluster"), Execute);
}

#[test]
fn what_is_done_may_stand_at_the_end() {
    for (name, expected) in [
        ("list_drop", Destructive),
        ("list_pop", Destructive),
        ("pods_delete", Destructive),
        ("pods_list", Read),
        ("monitor_create", Write),
        ("order_cancel", Execute),
        ("invoice-list", Read),
        ("refund_order", Financial),
        ("deploy-services-reader", Read),
    ] {
        assert_eq!(named(name), expected, "{name}");
    }
}

#[test]
fn a_word_that_looks_hides_no_other() {
    for (name, expected) in [
        ("query_execute_now", Execute),
        ("report_send_all", Execute),
        ("reset_counter", Destructive),
        ("clear_reader", Destructive),
        ("list_create_options", Read),
        ("get_create_fields", Read),
        ("put_read_only", Write),
        ("API-post-search", Read),
        ("post_message", Write),
        ("push_message", Execute),
        ("remote_shell", Execute),
        ("sync_files", Write),
        ("start_search", Read),
        ("start_server", Execute),
    ] {
        assert_eq!(named(name), expected, "{name}");
    }
    let shell = json!({ "name": "remote_shell", "description": "Returns what is printed." });
    assert_eq!(of(shell).category(), Execute);
    let late = "In the quiet of the night for you deletes files";
    let late = json!({ "name": "list_files", "description": late });
    assert_eq!(of(late).category(), Destructive);
}

#[test]
fn the_opposite_of_deleting_deletes_nothing() {
    for name in [
        "undelete",
        "undelete_file",
        "restore_deleted_file",
        "list_deleted_files",
    ] {
        assert!(named(name) < Unknown, "{name}");
    }
    assert_eq!(named("undelete"), Write);
}

#[test]
fn a_name_that_promises_to_read_is_not_believed_beside_sql() {
    let found = taking("readonly_sql", json!({ "sql": { "type": "string" } }));
    assert_eq!(found.category(), Execute);
    assert_eq!(
        found.evidence()[0].to_string(),
        "`sql` of the argument `args.sql`"
    );
    let query = json!({ "query": { "type": "string", "description": "The SQL to run" } });
    assert_eq!(taking("read_query", query).category(), Execute);
    let words = json!({ "query": { "type": "string", "description": "What to look for" } });
    assert_eq!(taking("search_files", words).category(), Read);
    let code = json!({ "code": { "type": "string", "description": "Country code" } });
    assert_eq!(taking("get_country", code).category(), Read);
}

#[test]
fn what_is_run_may_be_told_elsewhere_than_in_the_argument() {
    let of_query = |name: &str, description: &str| {
        let query = json!({ "properties": { "query": { "type": "string" } } });
        let tool = json!({ "name": name, "description": description, "inputSchema": query });
        of(tool).category()
    };
    assert_eq!(of_query("get_rows", "Gets what a SELECT finds"), Execute);
    assert_eq!(of_query("get_rows", "Gets rows by sql"), Execute);
    assert_eq!(of_query("get_sql_rows", "Gets rows"), Execute);
    assert_eq!(of_query("get_rows", "Gets rows"), Read);
    let code = json!({ "code": { "type": "string" } });
    let found = taking("run_snippet", code.clone());
    assert!(
        found
            .evidence()
            .iter()
            .any(|evidence| evidence.quote() == "code")
    );
    assert!(
        taking("add_item", code)
            .evidence()
            .iter()
            .all(|found| found.quote() != "code")
    );
    let file = json!({ "savePath": { "type": "string" } });
    assert_eq!(taking("download_report", file).category(), Write);
}

#[test]
fn a_noun_that_could_be_a_verb_gives_way_to_a_clear_description() {
    let with = |name: &str, description: &str| {
        of(json!({ "name": name, "description": description })).category()
    };
    assert_eq!(with("cluster_release_data", ""), Execute);
    assert_eq!(with("cluster_release_data", "Shows data"), Read);
    assert_eq!(with("table_reset", "Shows data"), Destructive);
    // Far along in a sentence is a verb that says little.
    let far = "Out in the very far fields for you sends it";
    assert_eq!(with("list_files", far), Read);
    assert_eq!(with("files", far), Execute);
}

#[test]
fn everything_has_its_name() {
    let names = RiskCategory::ALL.map(|category| category.to_string());
    let expected = [
        "read",
        "write",
        "unknown",
        "execute",
        "financial",
        "destructive",
    ];
    assert_eq!(names, expected);
    let severities = RiskCategory::ALL.map(|category| category.severity().to_string());
    let expected = ["low", "medium", "high", "high", "critical", "critical"];
    assert_eq!(severities, expected);
    let confidences = [Confidence::Low, Confidence::Medium, Confidence::High];
    assert_eq!(
        confidences.map(|c| c.to_string()),
        ["low", "medium", "high"]
    );
    assert_eq!(
        serde_json::to_value(of(json!({ "name": "delete_all" }))).unwrap(),
        json!({
            "category": "destructive",
            "severity": "critical",
            "confidence": "medium",
            "evidence": [
                { "place": "name", "quote": "delete", "category": "destructive" },
            ],
        })
    );
}

#[test]
fn to_look_at_a_payment_moves_no_money() {
    for name in [
        "preview_payment",
        "list_refunds",
        "getInvoice",
        "validate_payout",
    ] {
        assert_eq!(named(name), Read, "{name}");
    }
    for name in [
        "create_refund",
        "capture_payment",
        "pay_order",
        "send_payout",
        "processPayment",
        "update_subscription",
        "get_and_pay",
    ] {
        assert_eq!(named(name), Financial, "{name}");
    }
    assert_eq!(named("delete_invoice"), Destructive);
    assert_eq!(named("manage_notification_subscription"), Unknown);
}

#[test]
fn an_amount_for_somebody_is_money() {
    let money = json!({ "amount": { "type": "number" }, "recipient": { "type": "string" } });
    assert_eq!(taking("transfer", money.clone()).category(), Financial);
    assert_eq!(taking("get_rate", money).category(), Read);
    let salt = json!({ "amount": { "type": "number" }, "unit": { "type": "string" } });
    assert_eq!(taking("add_ingredient", salt).category(), Write);
}

#[test]
fn a_draft_is_gone_like_everything_else() {
    assert_eq!(named("delete_draft"), Destructive);
    assert_eq!(named("draft_email"), Write);
}

#[test]
fn what_only_sounds_like_dropping_drops_nothing() {
    for name in ["dropdown_list", "get_drop_down_options", "getDropShadow"] {
        assert_eq!(named(name), Read, "{name}");
    }
    assert_eq!(named("drag_and_drop"), Execute);
    assert_eq!(named("drop_table"), Destructive);
}

#[test]
fn names_in_camel_case_and_with_dots_are_cut_alike() {
    for name in [
        "deleteFile",
        "DeleteFile",
        "file.delete",
        "files/delete",
        "delete file",
    ] {
        assert_eq!(named(name), Destructive, "{name}");
    }
    assert_eq!(named("deletefile"), Destructive);
    assert_eq!(named("deleting_soon"), Unknown);
    assert_eq!(named("listAllPods"), Read);
}

#[test]
fn what_a_tie_was_taken_from_stays() {
    assert_eq!(named("remove_label"), Write);
    assert_eq!(named("remove_asset_from_watchlist_by_id"), Write);
    assert_eq!(named("remove_file"), Destructive);
    assert_eq!(named("remove_file_from_disk"), Destructive);
}

fn among(name: &str, others: &[&str]) -> RiskCategory {
    let tools: Vec<_> = others.iter().copied().map(ToolDefinition::named).collect();
    classify(&ToolDefinition::named(name), &Siblings::of(&tools)).category()
}

#[test]
fn what_all_names_begin_with_says_nothing() {
    let posts = ["post_list", "post_search", "post_wipe"];
    assert_eq!(among("post_list", &posts), Read);
    assert_eq!(among("post_wipe", &posts), Destructive);
    let drops = [
        "dropbox_list_files",
        "dropbox_get_file",
        "dropbox_delete_file",
    ];
    assert_eq!(among("dropbox_get_file", &drops), Read);
    let runs = ["model_eval_list", "model_eval_get_run", "model_eval_create"];
    assert_eq!(among("model_eval_get_run", &runs), Read);
    // But all of these search.
    let searches = ["search_code", "search_users", "search_issues"];
    assert_eq!(among("search_code", &searches), Read);
}

#[test]
fn a_position_is_money_where_its_siblings_are() {
    let broker = [
        "get_portfolio",
        "place_stock_order",
        "place_crypto_order",
        "get_stock_bars",
    ];
    assert_eq!(among("close_position", &broker), Financial);
    assert_eq!(named("close_position"), Write);
}

#[test]
fn the_server_can_only_make_it_worse() {
    let with = |name: &str, annotations: Value| {
        of(json!({ "name": name, "annotations": annotations })).category()
    };
    assert_eq!(
        with("delete_all", json!({ "readOnlyHint": true })),
        Destructive
    );
    assert_eq!(
        with("delete_all", json!({ "destructiveHint": false })),
        Destructive
    );
    assert_eq!(with("frobnicate", json!({ "readOnlyHint": true })), Unknown);
    assert_eq!(
        with("frobnicate", json!({ "readOnlyHint": false })),
        Unknown
    );
    assert_eq!(
        with("frobnicate", json!({ "destructiveHint": true })),
        Destructive
    );
    assert_eq!(with("list_files", json!({ "readOnlyHint": false })), Write);
    // The protocol gives it no meaning then.
    let both = json!({ "readOnlyHint": true, "destructiveHint": true });
    assert_eq!(with("list_files", both), Read);
    assert_eq!(with("list_files", json!({ "readOnlyHint": "no" })), Read);
}

#[test]
fn a_description_says_what_a_name_does_not() {
    for (description, expected) in [
        ("Deletes everything.", Destructive),
        ("This tool will permanently delete a thing", Destructive),
        (
            "Create, update or delete a thing. Lists nothing.",
            Destructive,
        ),
        ("Lists the things. Deleted ones are left out.", Read),
        ("Returns labels, comments, or posts", Read),
        ("Runs a search", Read),
        ("Change a thing. This cannot be undone.", Destructive),
        ("Process a refund for a customer", Financial),
        ("🎯 Purpose: 1. Retrieves things", Read),
        ("Löscht alles", Unknown),
        ("", Unknown),
    ] {
        let found = of(json!({ "name": "thing", "description": description }));
        assert_eq!(found.category(), expected, "{description}");
    }
    let liar = of(json!({ "name": "delete_all", "description": "Lists all files." }));
    assert_eq!(liar.category(), Destructive);
    let other_liar = of(json!({ "name": "list_all", "description": "Deletes all files." }));
    assert_eq!(other_liar.category(), Destructive);
}

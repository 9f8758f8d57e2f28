use super::*;

/// Hides tools whose names begin with `x`, and every prompt.
struct Rules;

impl Visibility for Rules {
    fn may_hide(&self, list: List) -> bool {
        matches!(list, List::Tools | List::Prompts)
    }

    fn shows(&self, list: List, name: &str) -> bool {
        list == List::Tools && !name.starts_with('x')
    }

    fn may_hear_of(&self, task: &str) -> bool {
        self.shows(List::Tasks, task)
    }

    fn hears_only_answers(&self) -> bool {
        false
    }

    fn judges_instructions(&self) -> bool {
        false
    }

    fn shows_instructions(&self, _: &[u8]) -> bool {
        true
    }
}

fn filtered(text: &str) -> Result<String, Unreadable> {
    let filtered = filter(text.as_bytes(), &Rules)?.text;
    Ok(filtered.map_or(text.to_owned(), |bytes| String::from_utf8(bytes).unwrap()))
}

fn tools(list: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{list},"nextCursor":"c"}}}}"#)
}

#[test]
fn hidden_entries_go_with_their_commas() {
    for (before, after) in [
        ("[]", "[]"),
        ("null", "null"),
        (
            r#"[ {"name":"a"} , {"name":"b", "n":1.0} ]"#,
            r#"[ {"name":"a"} , {"name":"b", "n":1.0} ]"#,
        ),
        (r#"[{"name":"x1"}]"#, "[]"),
        (r#"[{"name":"x1"},{"name":"x2"}]"#, "[]"),
        (r#"[{"name":"x1"},{"name":"a"}]"#, r#"[{"name":"a"}]"#),
        (r#"[{"name":"a"},{"name":"x1"}]"#, r#"[{"name":"a"}]"#),
        (
            r#"[{"name":"a"}, {"name":"x1"}, {"name":"b"}]"#,
            r#"[{"name":"a"}, {"name":"b"}]"#,
        ),
        (
            r#"[{"name":"x1"},{"name":"a"},{"name":"x2"},{"name":"x3"},{"name":"b"},{"name":"x4"}]"#,
            r#"[{"name":"a"},{"name":"b"}]"#,
        ),
    ] {
        assert_eq!(filtered(&tools(before)).unwrap(), tools(after), "{before}");
    }
}

#[test]
fn of_several_messages_only_those_about_foreign_tasks_are_left_out() {
    let foreign = r#"{"method":"notifications/tasks","params":{"taskId":"t","result":{"tools":[{"name":"x"},{"name":"a"}]}}}"#;
    let list = |tools: &str| format!(r#"{{"id":1,"result":{{"tools":[{tools}]}}}}"#);
    let (whole, cut) = (
        list(r#"{"name":"a"},{"name":"x"}"#),
        list(r#"{"name":"a"}"#),
    );
    for (before, after) in [
        (format!("[{foreign}, {whole}]"), format!("[{cut}]")),
        (format!("[{whole} ,{foreign}]"), format!("[{cut}]")),
        (
            format!("[{foreign},{foreign},{whole},{foreign},{{}}]"),
            format!("[{cut},{{}}]"),
        ),
    ] {
        assert_eq!(filtered(&before).unwrap(), after, "{before}");
        assert!(!filter(before.as_bytes(), &Rules).unwrap().is_foreign);
    }
    for all in [foreign.to_owned(), format!("[{foreign},{foreign}]")] {
        assert!(filter(all.as_bytes(), &Rules).unwrap().is_foreign);
    }
    assert!(!filter(b"[]", &Rules).unwrap().is_foreign);
}

#[test]
fn entries_without_a_readable_name_are_left_out() {
    for entry in [
        "7",
        "null",
        "{}",
        r#"{"name":7}"#,
        r#"{"name":"a","name":"a"}"#,
        r#"{"name":"a","Name":"x"}"#,
        r#"{"name":"a","name\u0000":"x"}"#,
        r#"{"n\u0061me":"x1"}"#,
    ] {
        let list = format!(r#"[{{"name":"a"}},{entry}]"#);
        assert_eq!(
            filtered(&tools(&list)).unwrap(),
            tools(r#"[{"name":"a"}]"#),
            "{entry}"
        );
    }
}

#[test]
fn lists_are_found_wherever_a_client_reads_them() {
    for text in [
        r#"[{"id":1,"result":{"tools":[{"name":"x"}]}}]"#,
        r#"{"method":"notifications/x","result":{"tools":[{"name":"x"}]}}"#,
        r#"{"result":{"result":{"tools":[{"name":"x"}]}}}"#,
        r#"{"result":{"result":{"result":{"tools":[{"name":"x"}]}}}}"#,
        r#"{"method":"notifications/tasks","params":{"result":{"tools":[{"name":"x"}]}}}"#,
        r#"{"res\u0075lt":{"to\u006fls":[{"name":"\u0078"}]}}"#,
        r#"{"result":{"prompts":[{"name":"x"}]}}"#,
    ] {
        let after = filtered(text).unwrap();
        assert!(after.contains(":[]"), "{after}");
    }
}

#[test]
fn answers_are_known_in_whatever_order_they_are_written() {
    for (text, id) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("1")),
        (r#"{"result":{},"id":"a","jsonrpc":"2.0"}"#, Some("\"a\"")),
        (r#"{"error":{},"id":1,"jsonrpc":"2.0"}"#, Some("1")),
        (r#"{"id":1,"method":"ping","result":{}}"#, None),
        (r#"{"jsonrpc":"2.0","id":1}"#, None),
    ] {
        let answers = filter(text.as_bytes(), &Rules).unwrap().answers;
        let ids: Vec<_> = answers.iter().map(|answer| answer.id).collect();
        let expected: Vec<_> = id.into_iter().map(str::as_bytes).collect();
        assert_eq!(ids, expected, "{text}");
    }
}

#[test]
fn other_values_stay() {
    for text in [
        r#"{"result":{"content":[],"structuredContent":{"tools":[{"name":"x"}]}}}"#,
        r#"{"method":"sampling/createMessage","params":{"tools":[{"name":"x"}]}}"#,
        r#"{"result":{"resources":[{"uri":"x"}]}}"#,
        r#"{"result":{"result":{"result":{"result":{"tools":[{"name":"x"}]}}}}}"#,
        r#"{"result":{"resources":{},"Resources":1,"a":"\ud800","a":1e999}}"#,
        "7",
    ] {
        assert_eq!(filtered(text).as_deref(), Ok(text));
    }
}

#[test]
fn caching_is_restricted_where_a_list_stands() {
    assert_eq!(
        filtered(r#"{"result":{"cacheScope":"public","tools":[],"ttlMs":3600000}}"#).unwrap(),
        r#"{"result":{"cacheScope":"private","tools":[],"ttlMs":60000}}"#,
    );
    // Only the first of these is a task.
    assert_eq!(
        filtered(
            r#"{"result":{"cacheScope":"public","tasks":[{"taskId":"t"},{"id":1}],"ttlMs":60001}}"#
        )
        .unwrap(),
        r#"{"result":{"cacheScope":"private","tasks":[{"id":1}],"ttlMs":60000}}"#,
    );
    for stays in [
        r#"{"result":{"cacheScope":"public","tasks":[{"id":1}],"ttlMs":3600000}}"#,
        r#"{"result":{"cacheScope":"private","tools":[],"ttlMs":60000}}"#,
        r#"{"result":{"cacheScope":"public","resources":[],"ttlMs":3600000}}"#,
        r#"{"result":{"tools":[]}}"#,
    ] {
        assert_eq!(filtered(stays).unwrap(), stays);
    }
    for odd in ["-1", "1e9", "\"5\"", "6e4", "99999999999999999999", "1.5"] {
        let text = format!(r#"{{"result":{{"tools":[],"ttlMs":{odd}}}}}"#);
        assert_eq!(
            filtered(&text).unwrap(),
            r#"{"result":{"tools":[],"ttlMs":60000}}"#
        );
    }
}

#[test]
fn what_clients_read_differently_is_unreadable() {
    for text in [
        r#"{"result":{"tools":[]},"result":{"tools":[{"name":"x"}]}}"#,
        r#"{"result":{"tools":[],"tools":[{"name":"x"}]}}"#,
        r#"{"result":{"tools":[],"Tools":[{"name":"x"}]}}"#,
        r#"{"Result":{"tools":[{"name":"x"}]}}"#,
        r#"{"result":{"tools":{"a":{"name":"x"}}}}"#,
        r#"{"result":{"tools":"[]"}}"#,
        r#"{"result":[null,null,null,null,null,[{"name":"x"}]]}"#,
        r#"{"result":{"result":[[{"name":"x"}]]}}"#,
        r#"{"params":[{"tools":[{"name":"x"}]}]}"#,
        r#"[["2.0",1,{"tools":[{"name":"x"}]}]]"#,
        "",
        "{",
        r#"{"result":{"tools":[{"name":"x"}]}} {}"#,
    ] {
        assert!(filtered(text).is_err(), "{text}");
    }
}

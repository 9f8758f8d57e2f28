fn main() {
    use mcp_policy::*;
    let policy: Policy =
        r#"{"version":"1","default":"deny","risk":{"read":{},"write":{"rate_limit":"30/minute"}}}"#
            .parse()
            .unwrap();
    let big = serde_json::json!({"name":"update_page","description":"Updates the page of a space, if it exists, else makes one. ".repeat(20),
      "inputSchema":{"type":"object","properties":{"id":{"type":"string","description":"The id."},"title":{"type":"string"},"body":{"type":"string","description":"Markdown"},"action":{"enum":["get","update","move","archive"]}}}});
    let text = big.to_string();
    println!("{} bytes", text.len());
    let t = std::time::Instant::now();
    for _ in 0..1000 {
        let d = ToolDefinition::from_json(&text).unwrap();
        std::hint::black_box(classify(&d, &Siblings::default()));
    }
    println!("definition {:?}", t.elapsed() / 1000);
    let t = std::time::Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(classify(
            &ToolDefinition::named("update_page_by_id"),
            &Siblings::default(),
        ));
    }
    println!("name {:?}", t.elapsed() / 1000);
    let long = "delete_a_".repeat(28);
    let t = std::time::Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(policy.decide(&Action::call_tool(&long)));
    }
    println!("decide long name unseen {:?}", t.elapsed() / 1000);
    let listed = ListedTools::of(&[big]);
    for (name, tools) in [("update_page", Some(&listed)), ("update_page", None)] {
        let mut call = Action::call_tool(name);
        if let Some(t) = tools {
            call = call.with_tools(t);
        }
        let t = std::time::Instant::now();
        for _ in 0..1000 {
            std::hint::black_box(policy.decide(&call));
        }
        println!("decide {name} {} {:?}", tools.is_some(), t.elapsed() / 1000);
    }
    // Worst
    let values: Vec<String> = (0..256)
        .map(|n| format!("delete_{n}_{}", "a_".repeat(50)))
        .collect();
    let props: serde_json::Map<_, _> = (0..256)
        .map(|n| (format!("action{n}"), serde_json::json!({"enum": values})))
        .collect();
    let text = serde_json::json!({"name":"x","inputSchema":{"properties":props}}).to_string();
    let t = std::time::Instant::now();
    let d = ToolDefinition::from_json(&text).unwrap();
    std::hint::black_box(classify(&d, &Siblings::default()));
    println!("worst {} bytes {:?}", text.len(), t.elapsed());
    let values: Vec<String> = (0..256).map(|n| format!("d{n}")).collect();
    let mut props: serde_json::Map<_, _> = (0..255)
        .map(|n| (format!("b{n}"), serde_json::json!({"$ref":"#/d"})))
        .collect();
    props.insert("action".into(), serde_json::json!({"$ref":"#/d"}));
    let text =
        serde_json::json!({"name":"x","d":{"enum":values},"inputSchema":{"properties":props}})
            .to_string();
    let t = std::time::Instant::now();
    let d = ToolDefinition::from_json(&text);
    std::hint::black_box(classify(&d.unwrap(), &Siblings::default()));
    println!("refs {} bytes {:?}", text.len(), t.elapsed());
    // Schemas in each other by reference.
    let text = serde_json::json!({"name":"x","inputSchema":{"properties":(0..200).map(|n| (format!("p{n}"), serde_json::json!({"$ref":"#"}))).collect::<serde_json::Map<_,_>>()}}).to_string();
    let text2 = {
        let level = |k: usize| serde_json::json!({"properties": (0..6).map(|n| (format!("p{n}"), serde_json::json!({"$ref": format!("#/defs/l{}", k+1)}))).collect::<serde_json::Map<_,_>>()});
        let defs: serde_json::Map<_, _> = (0..8).map(|k| (format!("l{k}"), level(k))).collect();
        serde_json::json!({"name":"x","inputSchema":{"$ref":"#/defs/l0","defs":defs}}).to_string()
    };
    for text in [text, text2] {
        let t = std::time::Instant::now();
        let d = ToolDefinition::from_json(&text).unwrap();
        std::hint::black_box(classify(&d, &Siblings::default()));
        println!("nested {} bytes {:?}", text.len(), t.elapsed());
    }
}

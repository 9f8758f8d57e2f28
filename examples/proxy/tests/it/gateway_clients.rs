//! Clients of an SDK, each with a token of its own, at a gateway in front of real servers.

use rmcp::{
    ClientLifecycleMode, ClientServiceExt as _, RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::{RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};

use crate::{
    gateway::Folder,
    support::{ALLOW_ALL, Proxy, file, within},
};

const ONE_TOOL: &str = r#"{
  "version": "1",
  "default": "hide",
  "tools": { "list_executions": {} }
}"#;

const NO_DELETING: &str = r#"{
  "version": "1",
  "default": "allow",
  "tools": { "manage_flow": { "action": "deny", "reason": "Flows are managed by hand." } }
}"#;

/// The embedded server of the demo, behind a policy that allows everything.
async fn server() -> Proxy {
    let policy = file("allow-all.json", ALLOW_ALL);
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--policy",
        policy.to_str().unwrap(),
    ];
    Proxy::start(&args, "warn").await
}

struct Client(RunningService<RoleClient, ()>);

impl Client {
    async fn connect(proxy: &Proxy, server: &str, token: &str, mode: ClientLifecycleMode) -> Self {
        let url = format!("http://{}/mcp/{server}", proxy.address);
        let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
        let transport = StreamableHttpClientTransport::from_config(config);
        let connected = ().serve_with_lifecycle(transport, mode);
        Self(within("a connection", connected).await.unwrap())
    }

    async fn tools(&self) -> usize {
        within("the tools", self.0.list_all_tools())
            .await
            .unwrap()
            .len()
    }

    /// What is answered, and whether that is an error.
    async fn call(&self, tool: &'static str) -> Result<(String, bool), ServiceError> {
        let call = self.0.call_tool(CallToolRequestParams::new(tool));
        let result = within("an answer", call).await?;
        let text = result.content.first().and_then(|content| content.as_text());
        let text = text.map(|text| text.text.clone()).unwrap_or_default();
        Ok((text, result.is_error.unwrap_or_default()))
    }

    async fn may(&self, tool: &'static str) -> bool {
        !self.call(tool).await.unwrap().1
    }
}

async fn everybody_gets_what_is_theirs(mode: fn() -> ClientLifecycleMode) {
    let (first, second) = (server().await, server().await);
    let folder = Folder::new(&format!(
        "listen = \"127.0.0.1:0\"\n[servers.one]\nurl = \"http://{}/mcp\"\n\
         [servers.two]\nurl = \"http://{}/mcp\"\n",
        first.address, second.address
    ));
    folder.put("one-tool.json", ONE_TOOL);
    folder.put("no-deleting.json", NO_DELETING);
    let tokens = [
        folder
            .grant("alice", "one", &["--policy", "all.json"])
            .await,
        folder
            .grant("bob", "one", &["--policy", "one-tool.json"])
            .await,
        folder
            .grant("carol", "two", &["--policy", "no-deleting.json"])
            .await,
    ];
    let proxy = folder.serve().await;
    let alice = Client::connect(&proxy, "one", &tokens[0], mode()).await;
    let bob = Client::connect(&proxy, "one", &tokens[1], mode()).await;
    let carol = Client::connect(&proxy, "two", &tokens[2], mode()).await;
    assert_eq!(
        [alice.tools().await, bob.tools().await, carol.tools().await],
        [39, 1, 39]
    );
    assert!(alice.may("manage_flow").await && !carol.may("manage_flow").await);
    assert!(bob.may("list_executions").await && carol.may("list_executions").await);
    // As a server answers for a tool that it has not.
    bob.call("manage_flow").await.unwrap_err();

    folder.put("no-deleting.json", ALLOW_ALL);
    assert!(carol.may("manage_flow").await);

    folder.succeeds(&["lockdown", "on"]).await;
    for client in [&alice, &bob, &carol] {
        let (text, is_error) = client.call("list_executions").await.unwrap();
        assert!(is_error && text.contains("locked this down"), "{text}");
    }
    folder.succeeds(&["lockdown", "off"]).await;
    for client in [&alice, &bob, &carol] {
        assert!(client.may("list_executions").await);
    }

    folder.succeeds(&["grant", "revoke", "bob"]).await;
    bob.call("list_executions").await.unwrap_err();
    assert!(alice.may("list_executions").await);

    // Somebody with no right token hears so, and does not wait.
    let url = format!("http://{}/mcp/two", proxy.address);
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(&*tokens[0]);
    let transport = StreamableHttpClientTransport::from_config(config);
    let refused = within("a refusal", ().serve_with_lifecycle(transport, mode())).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn clients_with_sessions_get_what_is_theirs() {
    everybody_gets_what_is_theirs(|| ClientLifecycleMode::Initialize).await;
}

#[tokio::test]
async fn clients_without_sessions_get_what_is_theirs() {
    everybody_gets_what_is_theirs(|| ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    })
    .await;
}

//! The server itself: which request is answered by what.

// Logging and subscriptions to resources belong to the older versions of the protocol, and are still asked for.
#![expect(deprecated)]

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities,
    CompleteRequestParams, CompleteResult, CompletionInfo, GetPromptRequestParams,
    GetPromptResponse, GetTaskParams, GetTaskResult, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec,
    ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
    SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::sync::broadcast;

use crate::catalogue::Catalogue;
use crate::content::Outcome;
use crate::rounds::Round;
use crate::{client, content, notify, prompts, resources, rounds, tasks};

/// Seals the state of calls that take several rounds. It guards nothing but a test.
const KEY: &[u8] = b"the conformance fixture seals with this";

/// How many changes a subscription may be behind.
const CHANGES: usize = 16;

#[derive(Clone)]
pub(crate) struct Fixture {
    catalogue: Arc<Catalogue>,
    sessions: Arc<LocalSessionManager>,
    tasks: TaskManager,
    seal: RequestStateCodec,
    changes: broadcast::Sender<Changed>,
    level: Arc<Mutex<LoggingLevel>>,
}

/// Which list somebody says has changed.
#[derive(Clone, Copy, Debug)]
enum Changed {
    Tools,
    Prompts,
}

type Context = RequestContext<RoleServer>;

impl Fixture {
    pub(crate) fn new(sessions: Arc<LocalSessionManager>) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            catalogue: Arc::new(Catalogue::read()?),
            sessions,
            tasks: TaskManager::new(),
            seal: RequestStateCodec::try_new(KEY)?,
            changes: broadcast::channel(CHANGES).0,
            level: Arc::new(Mutex::new(LoggingLevel::Info)),
        })
    }

    pub(crate) fn for_session(&self) -> Self {
        Self {
            level: Arc::new(Mutex::new(LoggingLevel::Info)),
            ..self.clone()
        }
    }

    async fn call(&self, call: CallToolRequestParams, context: &Context) -> Outcome {
        let round = Round::of_tool(&call, &self.seal);
        let arguments = call.arguments.as_ref();
        match call.name.as_ref() {
            "test_simple_text" => say("This is a simple text response for testing."),
            "test_image_content" => content::image(),
            "test_audio_content" => content::audio(),
            "test_embedded_resource" => content::embedded_resource(),
            "test_multiple_content_types" => content::mixed(),
            "test_error_handling" => Ok(content::failure(
                "This tool intentionally returns an error for testing",
            )?
            .into()),
            "test_mirrored_argument" => say(content::argument(arguments, "region")),
            "json_schema_2020_12_tool" => say("The arguments were fine."),
            "greet" => say(&format!("Hello, {}!", content::argument(arguments, "name"))),

            "test_tool_with_progress" => notify::progress(context).await,
            "test_tool_with_logging" | "test_logging_tool" => {
                notify::log(self.level(), context).await
            }
            "test_reconnection" => notify::cut_off(&self.sessions, context).await,
            "test_trigger_tool_change" => self.tell(Changed::Tools),
            "test_trigger_prompt_change" => self.tell(Changed::Prompts),

            "test_sampling" => client::sample(arguments, context).await,
            "test_elicitation" => client::ask_user(arguments, context).await,
            "test_elicitation_sep1034_defaults" => client::ask_with_defaults(context).await,
            "test_elicitation_sep1330_enums" => client::ask_with_choices(context).await,
            "test_missing_capability" => needs_sampling(context),

            "test_input_required_result_elicitation" | "test_streaming_elicitation" => {
                rounds::elicitation(&round)
            }
            "test_input_required_result_sampling" => rounds::model(&round),
            "test_input_required_result_list_roots" => rounds::list_roots(&round),
            "test_input_required_result_request_state"
            | "test_input_required_result_tampered_state" => rounds::confirm_with_state(&round),
            "test_input_required_result_multiple_inputs" => rounds::three_at_once(&round),
            "test_input_required_result_multi_round" => rounds::one_after_another(&round),
            "test_input_required_result_capabilities" => {
                rounds::what_the_client_can(&round, context)
            }

            "slow_compute" | "failing_job" | "protocol_error_job" | "confirm_delete"
            | "multi_input" => tasks::run(call, &self.tasks, knows_tasks(context)).await,
            "test_tool_with_task" => tasks::ask_then_run(&round, &self.tasks, knows_tasks(context)),
            other => Err(ErrorData::invalid_params(
                format!("Unknown tool: {other}"),
                None,
            )),
        }
    }

    fn level(&self) -> LoggingLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every open subscription; without one there is nobody to tell.
    fn tell(&self, changed: Changed) -> Outcome {
        let _ = self.changes.send(changed);
        say("Told everybody who listens.")
    }
}

fn say(text: &str) -> Outcome {
    Ok(content::text(text)?.into())
}

fn knows_tasks(context: &Context) -> bool {
    context
        .client_capabilities()
        .is_some_and(|capabilities| capabilities.supports_tasks())
}

fn needs_sampling(context: &Context) -> Outcome {
    if client::declares(context, "sampling") {
        return say("The client has a model.");
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("conformance-fixture", "1.0.0"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(
            self.catalogue.tools.clone(),
        ))
    }

    /// rmcp asks, to compare the headers of a call with the arguments that they repeat.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.catalogue.tool(name).cloned()
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        self.call(call, &context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = self.catalogue.prompts.clone();
        Ok(ListPromptsResult::with_all_items(prompts))
    }

    async fn get_prompt(
        &self,
        get: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&get, &Round::of_prompt(&get, &self.seal))
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: Context,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::new(CompletionInfo::default()))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = self.catalogue.resources.clone();
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = self.catalogue.resource_templates.clone();
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        read: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&read.uri)
    }

    /// Nothing here ever changes, so there is nothing to remember.
    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn set_level(&self, set: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = set.level;
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        let (accepted, sink) = (subscription.accepted(), subscription.sink());
        loop {
            let changed = tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                changed = changes.recv() => changed,
            };
            let sent = match changed {
                Ok(Changed::Tools) if accepted.tools_list_changed == Some(true) => {
                    sink.notify_tool_list_changed().await
                }
                Ok(Changed::Prompts) if accepted.prompts_list_changed == Some(true) => {
                    sink.notify_prompt_list_changed().await
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
                _ => continue,
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }

    async fn get_task(&self, get: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.tasks.get_task(&get.task_id)?))
    }

    async fn update_task(&self, update: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        self.tasks
            .update_task(&update.task_id, update.input_responses)
    }

    async fn cancel_task(&self, cancel: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&cancel.task_id)
    }
}

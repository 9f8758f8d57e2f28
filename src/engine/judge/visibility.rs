//! What a caller gets to see.

use super::Judge;
use crate::mcp::list::{List, Visibility};
use crate::policy::{Action, ListEntry, Policy};

impl Visibility for Judge {
    fn may_hide(&self, list: List) -> bool {
        let Some(policy) = self.shown_policy().filter(|_| !self.per_caller) else {
            return true;
        };
        match list {
            List::Tools => policy.can_hide_tools() || self.definitions.are_wanted(),
            List::Prompts => policy.can_hide_prompts(),
            List::Resources | List::ResourceTemplates => policy.can_hide_resources(),
            // Whose a task is does not depend on the policy.
            List::Tasks => true,
        }
    }

    fn shows(&self, list: List, name: &str) -> bool {
        let shows = |action: &Action<'_>| {
            let policy = self.shown_policy();
            policy.is_some_and(|policy| policy.shows(action))
        };
        match list {
            List::Tools => shows(&self.call_of(name)),
            List::Prompts => shows(&Action::get_prompt(name)),
            List::Resources => shows(&Action::read_resource(name)),
            List::ResourceTemplates => {
                let policy = self.shown_policy();
                policy.is_some_and(|policy| policy.shows_template(name))
            }
            List::Tasks => {
                let tool = self.sessions.tool_of(name, &self.caller);
                matches!(tool, Ok(Some(tool)) if shows(&self.call_of(&tool)))
            }
        }
    }

    fn may_hear_of(&self, task: &str) -> bool {
        let tool = self.sessions.tool_of(task, &self.caller);
        let may_call = |tool: &str| {
            let policy = self.shown_policy();
            let action = self.call_of(tool);
            policy.is_some_and(|policy| policy.decide_name(&action).approved().is_allowed())
        };
        matches!(tool, Ok(Some(tool)) if may_call(&tool))
    }

    fn shows_entry(&self, list: List, name: &str, entry: &[u8]) -> bool {
        if list == List::Tools && self.definitions.are_wanted() {
            let policy = self.shown_policy();
            let is_pinned = policy.is_some_and(|policy| policy.pins(name));
            let tool = self.definitions.see(name, entry, is_pinned);
            // Whatever is seen of it elsewhere meanwhile: this is what is shown.
            let entry = ListEntry { name, tool };
            let action = Action::call_tool(name).with_definitions(&entry);
            return policy.is_some_and(|policy| policy.shows(&action));
        }
        self.shows(list, name)
    }

    fn hears_only_answers(&self) -> bool {
        self.only_answers || self.is_shut()
    }

    fn judges_instructions(&self) -> bool {
        self.shown_policy().is_none_or(Policy::judges_instructions)
    }

    fn shows_instructions(&self, text: &[u8]) -> bool {
        let policy = self.shown_policy();
        policy.is_some_and(|policy| policy.shows_instructions(text))
    }
}

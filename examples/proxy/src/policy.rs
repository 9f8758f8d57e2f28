//! The policy file, and what is said when it changes.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use mcp_policy::{Policy, PolicyFile, PolicyReload};

use crate::{admin::News, diagnostics, failure::Failure, state::Keeps};

/// Loads the policy, and loads it again whenever its file changes; `follows` and `news`
/// are told of each.
pub(crate) fn watch(
    path: &Path,
    keeps: Keeps,
    follows: impl Fn(&Policy) + Clone + Send + 'static,
    news: &News,
) -> Result<PolicyFile, Failure> {
    let name = path.to_owned();
    let again = follows.clone();
    let told = news.clone();
    let file = PolicyFile::watch_with(path, move |reload| {
        say(&name, keeps, reload);
        match reload {
            PolicyReload::Loaded(policy) => {
                again(policy);
                told.policies_are(&[(&*name, policy)].into());
            }
            PolicyReload::Failed(_) => {
                let name = name.display();
                told.tell(&format!(
                    "{name} does not load: the policy from before still holds"
                ));
            }
            _ => {}
        }
    })
    .map_err(|error| Failure::policy(path, error))?;
    let policy = file.current();
    warn(path, &policy, keeps);
    follows(&policy);
    news.policies_are(&[(path, &policy)].into());
    Ok(file)
}

/// Says on stderr what has become of the policy.
fn say(path: &Path, keeps: Keeps, reload: PolicyReload<'_>) {
    let name = path.display();
    match reload {
        PolicyReload::Loaded(policy) => {
            warn(path, policy, keeps);
            tracing::info!(policy = %name, digest = policy.digest(), "loaded again");
        }
        PolicyReload::Failed(error) => {
            let colour = diagnostics::colours(io::stderr().is_terminal());
            let problems = diagnostics::text(path, error, colour);
            let _ = writeln!(io::stderr(), "{problems}");
            tracing::error!(policy = %name, "not loaded again: the policy from before still holds");
        }
        PolicyReload::Unwatched(why) => {
            tracing::error!(policy = %name, why, "changes of the policy may go unnoticed: restart after one");
        }
        other => tracing::warn!(policy = %name, ?other, "something became of the policy"),
    }
}

/// Shows on stderr what is doubtful in a policy that is enforced now.
pub(crate) fn warn(path: &Path, policy: &Policy, keeps: Keeps) {
    let colour = diagnostics::colours(io::stderr().is_terminal());
    let forgotten = match keeps {
        Keeps::UntilItEnds => policy.check_forgetful_store(),
        Keeps::ForLonger => Vec::new(),
    };
    for found in [policy.warnings(), &forgotten] {
        let text = diagnostics::warnings(path, policy, found, colour);
        let _ = write!(io::stderr(), "{text}");
    }
}

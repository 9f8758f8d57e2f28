//! What runs, as the console shows it: the same of one policy in front of one server, and
//! of a gateway of many.

use std::path::{Path, PathBuf};

use mcp_policy::Policy;
use sha2::{Digest as _, Sha256};

use crate::{child::Program, config::token::hexadecimal, lockdown::Locks, upstream::Target};

/// Tells what runs now.
pub(crate) trait Running: Send + Sync + 'static {
    /// Everything at once, as it is when that is asked.
    fn now(&self) -> Now;
}

impl<F: Fn() -> Now + Send + Sync + 'static> Running for F {
    fn now(&self) -> Now {
        self()
    }
}

/// What runs at a time. It holds no tokens; what it holds of credentials is where
/// requests and programs need them, and nobody shows that.
#[derive(Default)]
pub(crate) struct Now {
    /// The configuration, if there is one.
    pub(crate) config: Option<PathBuf>,
    /// With what the URLs of all servers begin, as far as that is known.
    pub(crate) endpoint: Option<String>,
    /// Why what was read last is not used.
    pub(crate) trouble: Option<String>,
    /// Whether nobody is let in because of that; else what was read before still holds.
    pub(crate) lets_nobody_in: bool,
    /// What is locked down, and the file that says so.
    pub(crate) lockdown: Option<(PathBuf, Locks)>,
    /// In the order of their names.
    pub(crate) servers: Vec<ServerNow>,
    /// In the order of their files, each once.
    pub(crate) policies: Vec<PolicyNow>,
    /// In the order of their labels.
    pub(crate) grants: Vec<GrantNow>,
}

/// A server.
pub(crate) struct ServerNow {
    pub(crate) name: String,
    pub(crate) reach: Reach,
    /// Whether callers show tokens of an issuer.
    pub(crate) is_issued: bool,
}

/// How a server is asked.
#[derive(Clone, PartialEq)]
pub(crate) enum Reach {
    Upstream(Box<Target>),
    Command(Box<Program>),
}

/// A policy.
pub(crate) struct PolicyNow {
    pub(crate) path: PathBuf,
    /// Whether it was read from there, so that it holds what is written there. If not, it
    /// is a part of this program.
    pub(crate) is_in_file: bool,
    /// The policy that holds now, which is an older one than that of the file while that
    /// does not load.
    pub(crate) policy: Policy,
    /// In front of what it is.
    pub(crate) uses: Vec<Use>,
}

/// What a policy is called in the URLs of pages: by its path, which can hold anything.
pub(crate) fn policy_id(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let mut digits = hexadecimal(&digest);
    digits.truncate(16);
    digits
}

impl Reach {
    /// Host and port, or the name of the program: what comes with that can be a
    /// credential.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Upstream(target) => target.authority().to_owned(),
            Self::Command(program) => {
                let program = program.command.first().map(Path::new);
                let name = program.and_then(Path::file_name).unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
        }
    }
}

/// For whom a policy holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) server: String,
    /// The label of a grant; everybody if there is none.
    pub(crate) grant: Option<String>,
}

/// A grant.
pub(crate) struct GrantNow {
    pub(crate) label: String,
    pub(crate) server: String,
    pub(crate) is_revoked: bool,
}

/// What runs if there is one policy, which is this now, in front of one server.
pub(crate) fn alone_is(
    name: String,
    reach: Reach,
    policy: impl Fn() -> PolicyNow + Send + Sync + 'static,
) -> impl Running {
    move || {
        let mut policy = policy();
        policy.uses = vec![Use {
            server: name.clone(),
            grant: None,
        }];
        Now {
            servers: vec![ServerNow {
                name: name.clone(),
                reach: reach.clone(),
                is_issued: false,
            }],
            policies: vec![policy],
            ..Now::default()
        }
    }
}

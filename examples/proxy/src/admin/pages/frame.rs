//! What is around every page of somebody who has signed in.

use super::sessions::Visitor;

/// Which page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    Overview,
    Tools,
    Policies,
    Approvals,
    Log,
    Limits,
    Grants,
}

/// A link to a page.
pub(super) struct Link {
    pub(super) text: &'static str,
    pub(super) path: &'static str,
    pub(super) is_here: bool,
}

impl Here {
    const ALL: [Self; 7] = [
        Self::Overview,
        Self::Tools,
        Self::Policies,
        Self::Approvals,
        Self::Log,
        Self::Limits,
        Self::Grants,
    ];

    /// The page of which a path is a part.
    pub(super) fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|here| {
            let (_, of) = here.link();
            let rest = path.strip_prefix(of);
            rest.is_some_and(|rest| rest.is_empty() || (of != "/" && rest.starts_with('/')))
        })
    }

    fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "/"),
            Self::Tools => ("Tools", "/tools"),
            Self::Policies => ("Policies", "/policies"),
            Self::Approvals => ("Approvals", super::super::PATH),
            Self::Log => ("Log", "/log"),
            Self::Limits => ("Limits", "/limits"),
            Self::Grants => ("Grants", "/grants"),
        }
    }
}

/// Who looks at which page.
pub(super) struct Frame<'a> {
    pub(super) visitor: &'a Visitor,
    here: Here,
}

impl<'a> Frame<'a> {
    pub(super) fn new(visitor: &'a Visitor, here: Here) -> Self {
        Self { visitor, here }
    }

    /// For the template: where else one can go.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        Here::ALL.into_iter().map(|here| {
            let (text, path) = here.link();
            Link {
                text,
                path,
                is_here: here == self.here,
            }
        })
    }
}

//! What may be typed about what was recorded, and to compare policies by it.

use std::path::PathBuf;

use clap::Args;

use crate::audit::{Place, meant::MeantMessages};

/// The options of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The policy document as it was
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,

    /// The policy document as it is to be
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,

    /// What `serve --audit` writes: a file of lines, or `sqlite:PATH`
    #[arg(long, value_name = "LOG", conflicts_with = "cases")]
    pub(crate) audit: Option<Place>,

    /// Cases, as `test` reads them; what they expect does not matter
    #[arg(long, value_name = "CASES.json")]
    pub(crate) cases: Option<PathBuf>,

    /// The tools of the server, by which `risk` and `pins` judge: what it answered to
    /// `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,
}

/// The options of `replay`.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The policy document as it is to be
    #[arg(value_name = "NEW")]
    pub(crate) policy: PathBuf,

    /// What `serve --audit` writes: a file of lines, or `sqlite:PATH`
    #[arg(long, value_name = "LOG")]
    pub(crate) audit: Place,

    /// The tools of the server, by which `risk` and `pins` judge: what it answered to
    /// `tools/list`
    #[arg(long, value_name = "TOOLS.json")]
    pub(crate) tools: Option<PathBuf>,
}

/// The options of `log`.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// What `serve --audit` writes: a file of lines, or `sqlite:PATH`
    #[arg(long, value_name = "LOG")]
    pub(crate) audit: Place,

    #[command(flatten)]
    pub(crate) meant: MeantMessages,

    /// Show the newest so many
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) limit: u32,

    /// Go on with what is recorded from now on
    ///
    /// A message is shown once it has ended; one that takes longer is shown before, too.
    #[arg(long, conflicts_with = "until")]
    pub(crate) follow: bool,
}

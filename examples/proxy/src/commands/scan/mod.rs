//! The `scan` command: everything that an agent can call, how dangerous it is and
//! why, and a policy to begin with.
//!
//! [`sources`] are the servers, also those of a client's configuration ([`config`]),
//! and [`ask`] asks them. What they offer is judged in [`inventory`], with what
//! somebody approved before ([`approved`], [`changes`]), and comes out as a [`table`]
//! ([`report`], [`words`]) or as JSON ([`json`]). [`files`] is what is written of it.

mod approved;
mod ask;
mod changes;
mod config;
mod files;
mod inventory;
mod json;
mod report;
mod seen;
mod sources;
mod table;
mod words;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use self::{approved::Approved, files::Places, inventory::Judged, report::Report};
use super::show::{print, print_json};
use crate::{cli::ScanArgs, diagnostics, failure::Failure, names::shown, shutdown::Signals};

pub(crate) async fn run(args: &ScanArgs, json: bool) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::start(error.to_string()))?;
    tokio::select! {
        ended = scan(args, json) => ended,
        // What was started is dropped, which kills it.
        () = signals.next() => Err(Failure::start("it was stopped before it was done")),
    }
}

async fn scan(args: &ScanArgs, json: bool) -> Result<ExitCode, Failure> {
    let sources = sources::of(args)?;
    let is_alone = args.servers.client_configs.is_empty() && sources.len() == 1;
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let places = Places::new(args, is_alone, &names)?;
    let approved = places.approved()?;
    let answers = ask::all(sources).await;
    let judged = inventory::judge(answers, approved);
    if let (true, Some(Err(reason))) = (is_alone, judged.servers.first().map(Judged::offered)) {
        let name = names.first().map_or("", String::as_str);
        return Err(Failure::start(format!(
            "`{}` cannot be asked: {reason}",
            shown(name)
        )));
    }
    let written = places.write(&judged)?;
    let report = Report {
        judged: &judged,
        written: &written,
        is_alone,
        pins: args.pin,
    };
    if json {
        print_json(&json::of(&report));
    } else {
        let colour = diagnostics::colours(io::stdout().is_terminal());
        print(&report.text(table::width(), colour));
    }
    let is_whole = judged.servers.iter().all(|server| server.offered().is_ok());
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

//! Tests of what may be typed.

use super::*;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn a_header_value_is_not_in_debug() {
    let cli = Cli::parse_from([
        "mcp-policy-proxy",
        "serve",
        "--policy=p.json",
        "--upstream=http://user:hunter2@localhost/",
        "--header=authorization: Bearer hunter2",
    ]);
    assert!(!format!("{cli:?}").contains("hunter2"));
}

#[test]
fn an_argument_of_a_call_is_not_in_debug() {
    let call = r#"--call={"name":"a","arguments":{"b":"hunter2"}}"#;
    let cli = Cli::parse_from(["mcp-policy-proxy", "explain", "p.json", call]);
    assert!(!format!("{cli:?}").contains("hunter2"));
}

#[test]
fn an_argument_of_the_server_is_not_in_debug() {
    for start in [
        ["stdio", "--policy=p.json"],
        ["serve", "--policy=p.json"],
        ["check", "p.json"],
        ["scan", "--pin"],
    ] {
        let start = ["mcp-policy-proxy"].into_iter().chain(start);
        let cli = Cli::parse_from(start.chain(["--", "npx", "--token=hunter2"]));
        let shown = format!("{cli:?}");
        assert!(shown.contains("npx") && !shown.contains("hunter2"));
    }
}

#[test]
fn there_is_one_server_to_guard() {
    let parse = |more: &[&str]| {
        let start = ["mcp-policy-proxy", "serve", "--policy=p.json"];
        Cli::try_parse_from(start.iter().chain(more)).map_err(|error| error.kind())
    };
    use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
    assert!(parse(&["--upstream=u", "--header=a: b"]).is_ok());
    assert!(parse(&["--", "npx", "--header=a: b"]).is_ok());
    for nothing in [&[] as &[&str], &["--"]] {
        assert_eq!(parse(nothing).unwrap_err(), MissingRequiredArgument);
    }
    assert_eq!(
        parse(&["--upstream=u", "--", "npx"]).unwrap_err(),
        ArgumentConflict
    );
    let config = |more: &[&str]| {
        let start = ["mcp-policy-proxy", "serve", "--config=g.toml"];
        Cli::try_parse_from(start.iter().chain(more)).is_ok()
    };
    assert!(config(&[]) && config(&["--state=memory"]));
    for option in ["--header=a: b", "--pass-authorization"] {
        assert!(parse(&[option, "--", "npx"]).is_err(), "{option}");
    }
}

#[test]
fn nothing_is_said_beside_a_configuration_that_would_not_be_heard() {
    let mut cli = Cli::command();
    cli.build();
    let serve = cli.find_subcommand("serve").unwrap();
    let mut asked = 0;
    let options = serve.get_arguments().filter(|one| !one.is_positional());
    for option in options {
        let name = option.get_long().unwrap();
        if ["config", "state", "json", "help"].contains(&name) {
            continue;
        }
        let value = match name {
            "listen" | "admin" | "metrics" => "127.0.0.1:1",
            _ => "1",
        };
        let typed = match option.get_action().takes_values() {
            true => format!("--{name}={value}"),
            false => format!("--{name}"),
        };
        let start = ["mcp-policy-proxy", "serve", "--config=g.toml", &typed];
        let error = Cli::try_parse_from(start).unwrap_err();
        assert_eq!(
            error.kind(),
            clap::error::ErrorKind::ArgumentConflict,
            "{typed}"
        );
        asked += 1;
    }
    assert!(asked > 15, "{asked}");
}

#[test]
fn what_the_environment_says_and_help_does_not_show_is_kept_from_servers() {
    let mut commands = vec![Cli::command()];
    commands.iter_mut().for_each(clap::Command::build);
    let mut found = 0;
    while let Some(command) = commands.pop() {
        for option in command
            .get_arguments()
            .filter(|one| one.is_hide_env_values_set())
        {
            let variable = option.get_env().unwrap().to_str().unwrap();
            assert!(
                crate::environment::SECRETS.contains(&variable),
                "{variable}"
            );
            found += 1;
        }
        commands.extend(command.get_subcommands().cloned());
    }
    assert!(found > 1, "{found}");
}

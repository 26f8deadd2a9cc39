//! The arguments of the sidecar, as its command line declares them.

use std::fmt::Write as _;

use agent_creds_sidecar::cli::Cli;
use clap::{Arg, Command, CommandFactory as _};

use crate::markdown::{code, codes, table};

pub(super) fn sidecar_arguments() -> String {
    table(["argument", "commands", "default", "meaning"], rows(&Cli::command()))
}

/// One row for each argument, in order of appearance. Subcommands share a row where they share all of it.
fn rows(program: &Command) -> Vec<[String; 4]> {
    let mut rows: Vec<([String; 3], Vec<&str>)> = Vec::new();
    let all: Vec<_> = program.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    for command in &all {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let row = [usage(argument), default(argument), help(argument)];
            match rows.iter_mut().find(|(known, _)| *known == row) {
                Some((_, commands)) => commands.push(command.get_name()),
                None => rows.push((row, vec![command.get_name()])),
            }
        }
    }
    let row = |([usage, default, help], commands): ([String; 3], Vec<&str>)| {
        let commands = if commands.len() == all.len() { "all".to_owned() } else { codes(commands) };
        [usage, commands, default, help]
    };
    rows.into_iter().map(row).collect()
}

/// `--port PORT`; without a value where it takes none, without a name where it is known by its place.
fn usage(argument: &Arg) -> String {
    let mut usage = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    if argument.get_action().takes_values() {
        let values = argument.get_value_names().unwrap_or_default();
        let value =
            values.first().map_or_else(|| argument.get_id().as_str().to_uppercase(), ToString::to_string);
        let _ = write!(usage, " {value}");
    }
    code(usage.trim_start())
}

fn default(argument: &Arg) -> String {
    let values = argument.get_default_values();
    match values.first() {
        _ if argument.is_required_set() => "required".to_owned(),
        Some(_) if argument.get_action().takes_values() => {
            codes(values.iter().map(|value| value.to_string_lossy()))
        }
        _ => "–".to_owned(),
    }
}

/// The help text, and the values where it does not name them.
fn help(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
    let mut help = help.unwrap_or_default();
    let values = argument.get_possible_values();
    let values: Vec<_> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
    if argument.get_action().takes_values() && values.iter().any(|value| !help.contains(&code(value))) {
        let _ = write!(help, ": {}", codes(values));
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let port = Arg::new("port").long("port").value_name("PORT").default_value("7").help("Port");
        let once = Arg::new("once").long("once").required(true).action(clap::ArgAction::SetTrue).help("Once");
        let secret = Arg::new("scale").long("scale").hide(true);
        let kind = Arg::new("kind").required(true).value_parser(["a", "b"]).help("Which");
        Command::new("p")
            .subcommand(Command::new("serve").arg(&port).arg(secret))
            .subcommand(Command::new("refresh").arg(port).arg(once))
            .subcommand(Command::new("probe").arg(kind))
    }

    #[test]
    fn shows_each_argument_with_the_commands_that_take_it() {
        let expected = [
            ["`--port PORT`", "`serve`, `refresh`", "`7`", "Port"],
            ["`--once`", "`refresh`", "required", "Once"],
            ["`KIND`", "`probe`", "required", "Which: `a`, `b`"],
        ];
        assert_eq!(rows(&program()), expected.map(|row| row.map(str::to_owned)));
    }
}

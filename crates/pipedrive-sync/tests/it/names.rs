//! The names that scripts rely on: commands, options and exit codes stay, and a rename keeps an alias.
//!
//! `PIPEDRIVE_WRITE_NAMES=1 cargo test -p pipedrive-sync --test it names` writes the list anew after a change on purpose.
#![allow(missing_docs)]

use std::{fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _};
use pipedrive_sync::{cli::Cli, exit::Code};

fn options(command: &Command, out: &mut String) {
    let mut lines: Vec<String> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .map(|arg| {
            let mut line = arg
                .get_long()
                .map_or_else(|| format!("<{}>", arg.get_id()), |long| format!("--{long}"));
            for alias in arg.get_all_aliases().unwrap_or_default() {
                write!(line, " | --{alias}").unwrap();
            }
            if let Some(short) = arg.get_short() {
                write!(line, " | -{short}").unwrap();
            }
            if arg.get_action().takes_values() {
                let names = arg.get_value_names().unwrap_or_default();
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                write!(line, " <{}>", names.join(" ")).unwrap();
                let values: Vec<_> = arg
                    .get_possible_values()
                    .iter()
                    .map(|value| value.get_name().to_owned())
                    .collect();
                if !values.is_empty() {
                    write!(line, " {}", values.join("|")).unwrap();
                }
            }
            if let Some(variable) = arg.get_env() {
                write!(line, " ${}", variable.to_string_lossy()).unwrap();
            }
            line
        })
        .collect();
    lines.sort();
    for line in lines {
        writeln!(out, "  {line}").unwrap();
    }
}

fn commands(command: &Command, path: &str, out: &mut String) {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let path = format!("{path} {}", command.get_name());
        let aliases: Vec<_> = command.get_all_aliases().collect();
        let aliases =
            if aliases.is_empty() { String::new() } else { format!(" | {}", aliases.join(" | ")) };
        writeln!(out, "{path}{aliases}").unwrap();
        options(command, out);
        commands(command, &path, out);
    }
}

#[test]
fn commands_options_and_exit_codes_keep_their_names() {
    let mut cli = Cli::command();
    cli.build();
    let mut names = String::new();
    commands(&cli, "pipedrive", &mut names);
    for code in Code::ALL {
        writeln!(names, "exit {} {code:?}", code.number()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/names.txt");
    if std::env::var_os("PIPEDRIVE_WRITE_NAMES").is_some() {
        fs::write(&path, &names).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap();
    assert!(names == held, "names have changed; what is there now:\n{names}");
}

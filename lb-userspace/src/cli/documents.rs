//! `xlvs completions` and `xlvs man`: made from the same definitions as the help, so never out of step.

use super::args::Cli;
use super::exit::Exit;
use super::streams;
use super::verb_args::{Completions, Man};
use crate::api::{Failure, FailureKind};
use clap::CommandFactory;

pub(super) fn completions(verb: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(verb.shell, &mut Cli::command(), "xlvs", &mut script);
    print(script)
}

pub(super) fn manual(verb: &Man) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let page = match &verb.verb {
        None => clap_mangen::Man::new(command),
        Some(name) => {
            let Some(described) = command.find_subcommand(name) else {
                let what = format!("there is no verb '{name}'; 'xlvs --help' lists them");
                return Err(Failure::new(FailureKind::Usage, what));
            };
            clap_mangen::Man::new(described.clone().bin_name(format!("xlvs {name}")))
                .title(format!("xlvs-{name}"))
        }
    };
    let mut text = Vec::new();
    page.render(&mut text).map_err(unwritable)?;
    print(text)
}

fn print(text: Vec<u8>) -> Result<Exit, Failure> {
    let text = String::from_utf8(text).map_err(unwritable)?;
    streams::data(&text)?;
    Ok(Exit::Done)
}

fn unwritable(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Internal, format!("could not make the text: {error}"))
}

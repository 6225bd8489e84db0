//! `xlvs check`: everything that is wrong with a file, without touching anything.

use super::exit::Exit;
use super::session::Session;
use super::verb_args::Check;
use crate::api::{CheckReport, Failure, Problem, Schema};
use crate::config::{self, Model, Problems};
use crate::control::{Report, Request};
use std::path::Path;

pub(super) fn run(verb: &Check, session: &Session<'_>) -> Result<Exit, Failure> {
    let path = session.config();
    let mut report = match config::load(&path) {
        Ok(model) => valid(&path, &model, verb, session),
        Err(problems) => invalid(&path, &problems),
    };
    if verb.diff && report.ok {
        report.changes = Some(changes(session)?);
    }
    session.print(&report)?;
    Ok(if report.ok { Exit::Done } else { Exit::Failed })
}

fn valid(path: &Path, model: &Model, verb: &Check, session: &Session<'_>) -> CheckReport {
    let problems = if verb.host { session.machine.host_problems(path, model) } else { Vec::new() };
    let servers: usize = model.services.iter().map(|service| service.servers.len()).sum();
    CheckReport {
        schema: Schema,
        path: path.to_owned(),
        ok: problems.is_empty(),
        services: Some(model.services.len() as u64),
        servers: Some(servers as u64),
        problems,
        changes: None,
    }
}

fn invalid(path: &Path, problems: &Problems) -> CheckReport {
    CheckReport {
        schema: Schema,
        path: path.to_owned(),
        ok: false,
        services: None,
        servers: None,
        problems: problems.iter().map(Problem::from).collect(),
        changes: None,
    }
}

fn changes(session: &Session<'_>) -> Result<Vec<crate::api::Change>, Failure> {
    // The file that was checked, also when it is the default: the agent's own may be another.
    let path = std::path::absolute(session.config()).ok();
    let report = session.ask(&Request::Diff { path }, |report| match report {
        Report::Diff(report) => Some(report),
        _ => None,
    })?;
    Ok(report.changes)
}

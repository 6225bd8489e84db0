//! `xlvs reload`.

use super::exit::Exit;
use super::session::Session;
use crate::api::Failure;
use crate::control::{Report, Request};

pub(super) fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let request = Request::Reload { path: session.config_for_agent()? };
    let report = session.ask(&request, |report| match report {
        Report::Reload(report) => Some(report),
        _ => None,
    })?;
    session.print(&report)
}

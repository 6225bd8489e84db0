//! The verbs that only look.

use super::exit::Exit;
use super::session::Session;
use super::verb_args::{Affinity, AffinityAction, Connections, Stats, Status};
use crate::api::{Failure, ServersReport, ServicesReport, StatsReport};
use crate::control::{AffinityQuery, ConnectionFilter, Report, Request};
use std::thread;

pub(super) fn status(verb: &Status, session: &Session<'_>) -> Result<Exit, Failure> {
    let status = session.ask_status()?;
    session.print(&status)?;
    Ok(if verb.ready && !status.ready { Exit::Failed } else { Exit::Done })
}

pub(super) fn services(session: &Session<'_>) -> Result<Exit, Failure> {
    session.print(&ServicesReport::from(&session.ask_status()?))
}

pub(super) fn servers(session: &Session<'_>) -> Result<Exit, Failure> {
    session.print(&ServersReport::from(&session.ask_status()?))
}

pub(super) fn connections(verb: Connections, session: &Session<'_>) -> Result<Exit, Failure> {
    let filter = ConnectionFilter {
        service: verb.service,
        server: verb.server,
        client: verb.client,
        limit: verb.limit,
    };
    let report = session.ask(&Request::Connections(filter), |report| match report {
        Report::Connections(report) => Some(report),
        _ => None,
    })?;
    session.print(&report)
}

/// The one that may change something: what is cleared is forgotten.
pub(super) fn affinity(verb: Affinity, session: &Session<'_>) -> Result<Exit, Failure> {
    let request = Request::Affinity(AffinityQuery {
        service: verb.service,
        server: verb.server,
        client: verb.client,
        limit: verb.limit,
        clear: verb.action == Some(AffinityAction::Clear),
    });
    let report = session.ask(&request, |report| match report {
        Report::Affinity(report) => Some(report),
        _ => None,
    })?;
    session.print(&report)
}

pub(super) fn stats(verb: &Stats, session: &Session<'_>) -> Result<Exit, Failure> {
    let earlier = session.ask_status()?;
    thread::sleep(verb.interval.0);
    let later = session.ask_status()?;
    session.print(&StatsReport::between(&earlier, &later))
}

pub(super) fn drops(session: &Session<'_>) -> Result<Exit, Failure> {
    let report = session.ask(&Request::Drops, |report| match report {
        Report::Drops(report) => Some(report),
        _ => None,
    })?;
    session.print(&report)
}

pub(super) fn peers(session: &Session<'_>) -> Result<Exit, Failure> {
    let report = session.ask(&Request::Peers, |report| match report {
        Report::Peers(report) => Some(*report),
        _ => None,
    })?;
    session.print(&report)
}

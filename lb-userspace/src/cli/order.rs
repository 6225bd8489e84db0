//! `xlvs drain`, `enable`, `disable` and `weight`: orders for a server, and waiting until they have come true; `overrides`: those
//! that are in force.

use super::exit::Exit;
use super::session::Session;
use super::streams;
use super::verb_args::{OrderFor, Overrides, OverridesAction, Target, Weight};
use crate::api::{
    Failure, FailureKind, OverriddenServer, OverrideReport, ServerState, ServerStatus, StatusReport,
};
use crate::config::duration;
use crate::control::{Order, OverrideRequest, Report, Request};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at the agent while waiting.
const PACE: Duration = Duration::from_millis(200);

pub(super) fn drain(verb: OrderFor, session: &Session<'_>) -> Result<Exit, Failure> {
    let report = order(verb.target, Order::Drain, session)?;
    wait_and_print(report, verb.wait.map(|wait| wait.0), Goal::Empty, session)
}

pub(super) fn disable(verb: OrderFor, session: &Session<'_>) -> Result<Exit, Failure> {
    let report = order(verb.target, Order::Disable, session)?;
    wait_and_print(report, verb.wait.map(|wait| wait.0), Goal::Empty, session)
}

pub(super) fn enable(verb: OrderFor, session: &Session<'_>) -> Result<Exit, Failure> {
    let report = order(verb.target, Order::Enable, session)?;
    wait_and_print(report, verb.wait.map(|wait| wait.0), Goal::Up, session)
}

pub(super) fn weight(verb: Weight, session: &Session<'_>) -> Result<Exit, Failure> {
    let report = order(verb.target, Order::Weight(verb.weight), session)?;
    session.print(&report)
}

pub(super) fn overrides(verb: Overrides, session: &Session<'_>) -> Result<Exit, Failure> {
    let report = match verb.action {
        Some(OverridesAction::Clear) => {
            let (service, server) = (verb.service, verb.server);
            ordered(OverrideRequest { service, server, order: Order::Clear }, session)?
        }
        None => OverrideReport::in_force(&session.ask_status()?),
    };
    session.print(&report)
}

fn order(target: Target, order: Order, session: &Session<'_>) -> Result<OverrideReport, Failure> {
    let service = target.service.name().map(str::to_owned);
    ordered(OverrideRequest { service, server: Some(target.server), order }, session)
}

fn ordered(request: OverrideRequest, session: &Session<'_>) -> Result<OverrideReport, Failure> {
    session.ask(&Request::Override(request), |report| match report {
        Report::Override(report) => Some(report),
        _ => None,
    })
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// No connection is left.
    Empty,
    /// It takes new connections.
    Up,
}

impl Goal {
    fn reached(self, server: &OverriddenServer) -> bool {
        match self {
            Self::Empty => server.connections_remaining == 0,
            Self::Up => server.state == ServerState::Up,
        }
    }

    fn missed(self, server: &OverriddenServer) -> String {
        let OverriddenServer { service, server: name, state, connections_remaining, .. } = server;
        match self {
            Self::Empty => format!("{service}/{name} still holds {connections_remaining} connections"),
            Self::Up => format!("{service}/{name} is {state}"),
        }
    }
}

fn wait_and_print(
    mut report: OverrideReport,
    wait: Option<Duration>,
    goal: Goal,
    session: &Session<'_>,
) -> Result<Exit, Failure> {
    let missed = match wait {
        None => None,
        Some(wait) => wait_for(&mut report, wait, goal, session)?,
    };
    session.print(&report)?;
    match missed {
        None => Ok(Exit::Done),
        Some(missed) => {
            streams::talk(format_args!("xlvs: {missed}"));
            Ok(Exit::TimedOut)
        }
    }
}

/// Looks until the goal is reached, keeping the report up to date; says what was missed when time is up.
fn wait_for(
    report: &mut OverrideReport,
    wait: Duration,
    goal: Goal,
    session: &Session<'_>,
) -> Result<Option<String>, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let unreached: Vec<_> = report.servers.iter().filter(|server| !goal.reached(server)).collect();
        if unreached.is_empty() {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let what: Vec<_> = unreached.iter().map(|server| goal.missed(server)).collect();
            let waited = duration::show(wait);
            return Ok(Some(format!("after {waited}, {}; the order stays in force", what.join(", "))));
        }
        thread::sleep(PACE.min(left));
        let status = session.ask_status()?;
        for server in &mut report.servers {
            refresh(server, &status)?;
        }
    }
}

fn refresh(server: &mut OverriddenServer, status: &StatusReport) -> Result<(), Failure> {
    let service = status.services.iter().find(|service| service.name == server.service);
    let servers = service.iter().flat_map(|service| &service.servers);
    // One for each of its addresses; an order is for all of them.
    let now: Vec<&ServerStatus> = servers.filter(|it| it.name == server.server).collect();
    let state = ServerState::of_all(now.iter().map(|it| it.state.clone()));
    let (Some(state), Some(first)) = (state, now.first()) else {
        let what = format!(
            "{}/{} was removed from the configuration while this waited for it",
            server.service, server.server
        );
        return Err(Failure::new(FailureKind::NotFound, what));
    };
    server.state = state;
    server.admin = first.admin.clone();
    server.weight = first.weight;
    server.connections_remaining = now.iter().map(|it| it.connections_active).sum();
    Ok(())
}

//! A new agent adopts what the dead one left: program, tables, connections and counters.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::download::Download;
use crate::load;
use crate::scene::{FILE, Scene};
use crate::telling::Claim;

const PACE: u64 = 8_000_000;
const CONNECTIONS: usize = 300;

pub fn show(scene: &mut Scene, claim: &mut Claim) -> Result<()> {
    let orphaned = scene.orphaned.take().context("the data path has not been without an agent")?;
    let download = Download::start(&scene.client, PACE);
    download.await_bytes(PACE / 4)?;
    let made = orphaned.connections_made + 1;

    let begun = Instant::now();
    scene.up()?;
    let took = begun.elapsed();
    let status = scene.installation().status()?;
    let adopted = status["data_path"]["adopted"] == true && status["data_path"]["since"] == orphaned.since;
    claim.check(
        adopted,
        format!(
            "ready after {} ms: adopted {}, forwarding since {}, now with agent {}",
            took.as_millis(),
            status["data_path"]["adopted"],
            status["data_path"]["since"].as_str().unwrap_or("?"),
            status["pid"]
        ),
    );
    claim.by_hand(&scene.xlvs("status"));

    let counted = scene.connections_total()?;
    let grown = counted.saturating_sub(orphaned.connections_counted);
    // A port is free at once when its connection was refused, but xlvs keeps that one's entry for a while: the next
    // connection from the port goes by it, and is no new one to xlvs.
    let went_on = grown <= made && grown + scene.refused >= made;
    let reused = match made.saturating_sub(grown) {
        0 => String::new(),
        reused => format!(", {reused} on the entry of a refused one"),
    };
    claim.check(
        went_on,
        format!("the counters went on: {counted} connections, {grown} more than when the old agent died; {made} made{reused}"),
    );
    claim.by_hand(&scene.xlvs("services"));

    let under_way = download.received() < FILE;
    claim.check(
        under_way,
        format!("a download begun without an agent was at {:.1} MB", download.received() as f64 / 1e6),
    );
    match download.finish() {
        Ok(report) => claim.check(true, format!("it completed: {report}")),
        Err(error) => claim.check(false, format!("it did not complete: {error:#}")),
    }
    let sessions = std::mem::take(&mut scene.sessions);
    let count = sessions.len();
    scene.sessions = load::ask_again(&scene.client, sessions)?;
    let alive = scene.sessions.len();
    claim.check(alive == count && count > 0, format!("{alive} of {count} connections kept open since before the reload still answer, each from its server"));
    claim.by_hand(&scene.xlvs("connections"));
    let got = load::spread(&scene.client, CONNECTIONS)?;
    claim.check(got.len() == scene.names().len(), format!("{CONNECTIONS} new connections, none failed"));
    Ok(())
}

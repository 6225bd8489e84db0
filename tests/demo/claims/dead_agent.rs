//! `kill -9` of the agent in the middle of a download; the data path goes on alone.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use xlvs_tests::topology::VIP;

use crate::download::Download;
use crate::load;
use crate::scene::{FILE, Orphaned, Scene};
use crate::telling::Claim;

const PACE: u64 = 4_000_000;
const CONNECTIONS: usize = 300;
/// The data path trusts the agent's word on next hops for five seconds; then the kernel's routes decide (see the
/// heartbeat in `lb_common::clock`).
const ALONE: Duration = Duration::from_secs(7);
const NO_AGENT: i32 = 3;

pub fn show(scene: &mut Scene, claim: &mut Claim) -> Result<()> {
    let download = Download::start(&scene.client, PACE);
    download.await_bytes(PACE / 2)?;
    let at = download.received();
    scene.orphaned = Some(Orphaned {
        since: scene.installation().status()?["data_path"]["since"].clone(),
        connections_counted: scene.connections_total()?,
        connections_made: 2 * CONNECTIONS as u64,
    });
    let pid = scene.kill_agent()?;
    let killed = Instant::now();
    claim.note(format_args!(
        "kill -9 {pid} with a download at {:.1} of {} MB",
        at as f64 / 1e6,
        FILE / 1_000_000
    ));

    let said = scene.installation().run(&["status"])?;
    let line = said.stderr.trim();
    let tells = line.contains("no agent answers") && line.contains("still forwards");
    claim.check(said.code == NO_AGENT && tells, format!("xlvs status exits {} and says", said.code));
    for piece in line.split("; ") {
        claim.note(format_args!("  {piece}"));
    }
    claim.by_hand(&scene.xlvs("status"));

    new_connections(scene, claim, killed)?;
    sleep(ALONE.saturating_sub(killed.elapsed()));
    new_connections(scene, claim, killed)?;
    claim.by_hand(&scene.curl(&format!("http://{VIP}/")));

    let (under_way, at) = (download.received() < FILE, download.received());
    claim.check(under_way, format!("the download was still under way then, at {:.1} MB", at as f64 / 1e6));
    match download.finish() {
        Ok(report) => claim.check(true, format!("it completed: {report}")),
        Err(error) => claim.check(false, format!("it did not complete: {error:#}")),
    }
    claim.by_hand(&scene.curl(&format!("http://{VIP}/big | sha256sum")));
    Ok(())
}

fn new_connections(scene: &Scene, claim: &mut Claim, killed: Instant) -> Result<()> {
    let seconds = killed.elapsed().as_secs_f64();
    let got = load::spread(&scene.client, CONNECTIONS)?;
    let list = got.iter().map(|(server, count)| format!("{server} {count}")).collect::<Vec<_>>().join(", ");
    let all = got.len() == scene.names().len();
    claim.check(all, format!("{CONNECTIONS} new connections {seconds:.1} s after it, none failed: {list}"));
    Ok(())
}

//! A fourth server by the file and `xlvs reload`, under running downloads.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::weights;
use crate::download::{Download, Report};
use crate::load::{self, Load};
use crate::scene::{FILE, INTERVAL, Scene, TIMEOUT};
use crate::telling::Claim;

const WEIGHT: u32 = 2;
const DOWNLOADS: usize = 6;
const PACE: u64 = 3_000_000;
const SESSIONS: usize = 100;
const CONNECTIONS: usize = 1000;
/// How long the requests go on after the new server's first.
const LOOK: Duration = Duration::from_secs(1);

pub fn show(scene: &mut Scene, claim: &mut Claim) -> Result<()> {
    // These stay for the agent's death and the next agent.
    scene.sessions = load::open_sessions(&scene.client, SESSIONS)?;
    let downloads: Vec<Download> = (0..DOWNLOADS).map(|_| Download::start(&scene.client, PACE)).collect();
    for download in &downloads {
        download.await_bytes(PACE / 4)?;
    }
    let server = scene.add_server(WEIGHT)?;
    let name = scene.names()[server].clone();
    scene.configure()?;
    claim.note(format_args!(
        "{name} with weight {WEIGHT} written into {}",
        scene.installation().config().display()
    ));
    claim.by_hand(&scene.xlvs("check --diff"));
    for line in scene.installation().ok(&["check", "--diff"])?.lines() {
        claim.note(line);
    }

    let load = Load::start(&scene.client);
    let begun = Instant::now();
    scene.installation().reload()?;
    let reloaded = begun.elapsed();
    claim.by_hand(&scene.xlvs("reload"));
    let first = load.await_answer(&name, begun)?;
    // Its first health result decides.
    let allowed = INTERVAL + TIMEOUT;
    let text = format!(
        "in force after {} ms; {name} got its first connection at {} ms, of {} allowed",
        reloaded.as_millis(),
        first.as_millis(),
        allowed.as_millis()
    );
    claim.check(first <= allowed, text);
    sleep(LOOK);
    let asked = load.stop();
    let failed = asked.iter().filter(|one| one.answer.is_err()).count();
    claim.check(failed == 0, format!("{failed} of {} requests failed meanwhile", asked.len()));
    let got = load::spread(&scene.client, CONNECTIONS)?;
    weights::spread(scene, claim, &got);

    let running = downloads.iter().filter(|download| download.received() < FILE).count();
    claim.check(running == DOWNLOADS, format!("{running} of {DOWNLOADS} downloads were still under way"));
    let reports = downloads.into_iter().map(Download::finish);
    let (whole, broken): (Vec<_>, Vec<_>) = reports.partition(Result::is_ok);
    let whole: Vec<Report> = whole.into_iter().flatten().collect();
    let longest = whole.iter().map(|report| report.longest_wait).max().unwrap_or_default();
    let megabytes = whole.iter().map(|report| report.bytes).sum::<u64>() / 1_000_000;
    let text = format!(
        "{} of {DOWNLOADS} completed: {megabytes} MB, every byte right; longest wait for one {} ms",
        whole.len(),
        longest.as_millis()
    );
    claim.check(whole.len() == DOWNLOADS, text);
    for error in broken.into_iter().filter_map(Result::err) {
        claim.note(format_args!("{error:#}"));
    }
    Ok(())
}

//! `kill -9` of a real server under load, and its return.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::{self, Asked, Load};
use crate::scene::{FALL, INTERVAL, RISE, Scene, TIMEOUT};
use crate::telling::Claim;

/// rs2.
const VICTIM: usize = 1;
const SESSIONS: usize = 60;

pub fn show(scene: &mut Scene, claim: &mut Claim) -> Result<()> {
    let name = scene.names()[VICTIM].clone();
    let sessions = load::open_sessions(&scene.client, SESSIONS)?;
    let elsewhere: Vec<_> = sessions.into_iter().filter(|session| session.server() != name).collect();
    let load = Load::start(&scene.client);
    load.await_answer(&name, Instant::now())?;
    sleep(Duration::from_millis(300));

    let nginx = scene.nginx(VICTIM)?;
    claim.note(format_args!("kill -9 {} (nginx of {name}), requests going on", nginx.pid()));
    let killed = Instant::now();
    nginx.kill()?;
    sleep(allowed() + Duration::from_millis(900));
    let row = server_row(scene, VICTIM)?;
    let count = elsewhere.len();
    let alive = load::ask_again(&scene.client, elsewhere)?.len();

    scene.start_nginx(VICTIM)?;
    let returned = Instant::now();
    let back_after = load.await_answer(&name, returned)?;
    sleep(Duration::from_millis(500));
    let asked = load.stop();
    scene.refused = asked.iter().filter(|one| one.answer.is_err()).count() as u64;

    judge_failures(claim, &asked, killed);
    claim.check(row.starts_with("down"), format!("xlvs saw {name} go {row}"));
    claim.check(alive == count, format!("{alive} of {count} open connections to the other servers went on"));
    let limit = wait_for(RISE);
    claim.check(
        back_after <= limit,
        format!(
            "back: {name} got its first connection {} ms after its nginx listened again, of {} allowed",
            back_after.as_millis(),
            limit.as_millis()
        ),
    );
    claim.by_hand(&scene.xlvs("servers"));
    Ok(())
}

fn judge_failures(claim: &mut Claim, asked: &[Asked], killed: Instant) {
    let failures: Vec<&Asked> = asked.iter().filter(|one| one.answer.is_err()).collect();
    let early = failures.iter().filter(|one| one.ended < killed).count();
    claim.check(early == 0, format!("{} requests, {early} failed before the kill", asked.len()));
    let Some(last) = failures.iter().map(|one| one.ended).max() else {
        claim.check(false, "no request failed at all, so none can have gone to the server that was killed");
        return;
    };
    let (took, allowed) = (last.saturating_duration_since(killed), allowed());
    let reckoning = format!("fall {FALL} × {} ms + timeout {} ms", INTERVAL.as_millis(), TIMEOUT.as_millis());
    claim.check(
        took <= allowed,
        format!(
            "{} failed after it, the last at {} ms, of {} allowed ({reckoning})",
            failures.len() - early,
            took.as_millis(),
            allowed.as_millis()
        ),
    );
}

fn allowed() -> Duration {
    wait_for(FALL)
}

/// So many answers in a row: each an interval (give or take its jitter of a tenth, which the time-out covers), the last
/// one after at most its time-out.
fn wait_for(answers: u32) -> Duration {
    INTERVAL * answers + TIMEOUT
}

fn server_row(scene: &Scene, server: usize) -> Result<String> {
    let status = scene.installation().status()?;
    let row = &status["services"][0]["servers"][server];
    Ok(format!(
        "{} ({})",
        row["state"].as_str().unwrap_or("?"),
        row["reason"].as_str().unwrap_or("no reason given")
    ))
}

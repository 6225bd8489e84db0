//! The demo behind `cargo xtask demo`: xlvs in namespaces of its own, and five claims about it, each put to the test.
//!
//! `main` tells the story in order, [`scene`] is the stage, [`claims`] has a file for each claim, [`telling`] prints.
//! The exit code is 0 only if every claim held.

mod claims;
mod download;
mod http;
mod load;
mod scene;
mod telling;

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use xlvs_tests::cleanup;

use claims::CLAIMS;
use scene::Scene;
use telling::Telling;

fn main() -> ExitCode {
    let hold = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--hold") => true,
        Some(other) => {
            eprintln!(
                "error: {other} is unknown here; there is --hold. Start the demo with `cargo xtask demo`"
            );
            return ExitCode::from(2);
        }
    };
    cleanup::on_signals();
    match story(hold) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telling::silence_when_interrupted();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn story(hold: bool) -> Result<()> {
    let begun = Instant::now();
    let telling = Telling::start();
    let mut scene = Scene::build()?;
    scene.introduce(&telling);
    let mut failed = 0;
    for (title, show) in CLAIMS {
        let mut claim = telling.claim(title);
        if let Err(error) = show(&mut scene, &mut claim) {
            claim.check(false, format!("could not be shown: {error:#}"));
        }
        failed += usize::from(!claim.end());
    }
    let seconds = begun.elapsed().as_secs_f64();
    if hold {
        telling.hold(&scene);
        wait_for_enter();
    }
    let traces = scene.traces();
    drop(scene);
    let left: Vec<_> = traces.iter().filter(|path| path.exists()).collect();
    if !left.is_empty() {
        bail!("left behind: {left:?}");
    }
    let count = CLAIMS.len();
    if failed > 0 {
        bail!("{failed} of {count} claims did not hold ({seconds:.1} s; nothing is left behind)");
    }
    telling.end(&format!("all {count} claims held, in {seconds:.1} s; nothing is left behind"));
    Ok(())
}

/// Without anybody who could press Enter, only a signal ends it.
fn wait_for_enter() {
    let mut byte = [0];
    while !matches!(std::io::stdin().read(&mut byte), Ok(1..)) {
        std::thread::park();
    }
}

//! The shared cases, as the kernel runs them; and that every frame is counted once.

use anyhow::{Result, ensure};
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::{Engine as _, cases};

#[test]
fn every_case_is_true_of_the_program() -> Result<()> {
    cases::run_all(&mut Program::load()?)
}

#[test]
fn every_case_is_true_behind_vlan_tags() -> Result<()> {
    cases::run(&cases::tagged::every(&cases::all()), &mut Program::load()?)
}

#[test]
fn the_sum_of_verdicts_is_the_number_of_frames() -> Result<()> {
    let mut program = Program::load()?;
    let mut frames = 0;
    for case in cases::all() {
        let failed = case.run(&mut program)?;
        ensure!(failed.is_none() || case.frames() > 0, "{failed:?}");
        frames += case.frames() as u64;
    }
    program.reset()?;
    let counted: u64 = program.verdicts()?.iter().sum();
    ensure!(counted == frames, "{frames} frames were run, {counted} verdicts counted");
    Ok(())
}

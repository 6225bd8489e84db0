//! The cases: what comes in and everything that must be true afterwards, as data for both engines.

mod direct;
mod fragments;
pub mod full_nat;
mod headers;
mod icmp;
pub mod ipv6;
mod limits;
mod lists;
mod lost;
mod martians;
mod nat;
mod notice;
pub mod people;
mod quic;
mod refusals;
mod replies;
mod scheduling;
pub mod settling;
mod strangers;
pub mod tagged;
mod told;
mod tunnel;
mod udp;
mod vlan;
pub mod ways_back;

use anyhow::{Context as _, Result};

use super::Engine;
use super::world::{Side, World};
use crate::fixture::{Fixture, Output};

/// A world and what happens in it, step by step.
#[derive(Clone, Debug)]
pub struct Case {
    /// A sentence that is true when the case passes.
    pub name: &'static str,
    pub world: World,
    pub steps: Vec<Step>,
}

/// What happens next.
#[derive(Clone, Debug)]
pub enum Step {
    /// A frame comes in.
    Frame(Side, Fixture),
    /// So many fine ticks pass.
    Pass(u32),
    /// The agent changes the world; connections stay.
    Change(World),
}

impl Case {
    fn new(name: &'static str, world: World) -> Self {
        Self { name, world, steps: Vec::new() }
    }

    /// A frame comes in on the clients' side.
    fn front(self, input: &[u8], verdict: &str, output: Output) -> Self {
        self.frame(Side::Front, input, verdict, output)
    }

    /// A frame comes in on the servers' side.
    fn back(self, input: &[u8], verdict: &str, output: Output) -> Self {
        self.frame(Side::Back, input, verdict, output)
    }

    fn frame(mut self, side: Side, input: &[u8], verdict: &str, output: Output) -> Self {
        self.steps.push(Step::Frame(side, Fixture::new(self.name, input.to_vec(), verdict, output)));
        self
    }

    /// The last frame also makes these counters grow by so much.
    fn counting(mut self, growth: &[(&str, i64)]) -> Self {
        if let Some(Step::Frame(_, fixture)) = self.steps.last_mut() {
            fixture.counters.extend(growth.iter().map(|(name, n)| ((*name).to_owned(), *n)));
        }
        self
    }

    fn pass(mut self, ticks: u32) -> Self {
        self.steps.push(Step::Pass(ticks));
        self
    }

    fn change(mut self, change: impl FnOnce(&mut World)) -> Self {
        let changes = self.steps.iter().rev().find_map(|step| match step {
            Step::Change(world) => Some(world.clone()),
            _ => None,
        });
        self.steps.push(Step::Change(changes.unwrap_or_else(|| self.world.clone()).with(change)));
        self
    }

    /// Runs the case from scratch. What is not true is the `Ok` text; `Err` says that the engine could not run it.
    pub fn run(&self, engine: &mut impl Engine) -> Result<Option<String>> {
        engine.reset()?;
        engine.install(&self.world)?;
        for (number, step) in self.steps.iter().enumerate() {
            let context = || format!("case '{}', step {}", self.name, number + 1);
            match step {
                Step::Pass(ticks) => engine.pass(*ticks).with_context(context)?,
                Step::Change(world) => engine.install(world).with_context(context)?,
                Step::Frame(side, fixture) => {
                    let seen = engine.run(*side, &fixture.input).with_context(context)?;
                    if let Err(mismatch) = fixture.judge(&seen) {
                        return Ok(Some(format!(
                            "{mismatch}\n  at step {} of {}",
                            number + 1,
                            self.steps.len()
                        )));
                    }
                }
            }
        }
        Ok(None)
    }

    /// How many frames it runs.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Frame(..))).count()
    }
}

/// All cases. Their names differ.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut all = [
        nat::cases(),
        notice::cases(),
        direct::cases(),
        udp::cases(),
        replies::cases(),
        headers::cases(),
        strangers::cases(),
        refusals::cases(),
        lost::cases(),
        ipv6::cases(),
        icmp::cases(),
        fragments::cases(),
        full_nat::cases(),
        martians::cases(),
        vlan::cases(),
        lists::cases(),
        limits::cases(),
        told::cases(),
        tunnel::cases(),
        quic::cases(),
        scheduling::cases(),
    ]
    .concat();
    all.extend(tagged::representatives(&all));
    all
}

/// Runs all cases; the error tells every one that failed.
pub fn run_all(engine: &mut impl Engine) -> Result<()> {
    run(&all(), engine)
}

/// The same for these cases.
pub fn run(cases: &[Case], engine: &mut impl Engine) -> Result<()> {
    let mut failures = Vec::new();
    for case in cases {
        failures.extend(case.run(engine)?);
    }
    println!("{} cases, {} frames", cases.len(), cases.iter().map(Case::frames).sum::<usize>());
    let failed = failures.len();
    anyhow::ensure!(failed == 0, "{failed} of {} cases failed:\n{}", cases.len(), failures.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Step, all};
    use crate::fixture::Output;
    use crate::packet::faults;

    /// What must come out is sound by itself, as is what comes in; but for a wrong checksum, which stays wrong.
    #[test]
    fn what_is_expected_is_sound() {
        for case in all().iter().filter(|case| !case.name.contains("stays wrong")) {
            for step in &case.steps {
                let Step::Frame(_, fixture) = step else { continue };
                let (Output::Back(frame) | Output::Through(frame)) = &fixture.output else { continue };
                assert_eq!(faults(&fixture.input), Vec::<String>::new(), "{}", case.name);
                assert_eq!(faults(frame), Vec::<String>::new(), "{}", case.name);
            }
        }
    }
}

//! The agent is asked for ways that nobody knows, as the kernel runs the program; by no copy that only explains.

use anyhow::{Result, ensure};
use lb_common::purpose::Purpose;
use xlvs_tests::datapath::Engine as _;
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::cases::ways_back;
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::packet::Ipv4;

#[test]
fn the_agent_is_asked_for_ways_that_nobody_knows() -> Result<()> {
    ways_back::check(&mut Program::load()?)
}

#[test]
fn a_copy_that_captures_asks_and_one_that_explains_does_not() -> Result<()> {
    let world = World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080)]);
    let mut serving = Program::load()?;
    serving.install(&world)?;
    serving.run(Side::Front, &from_client(VIP, syn(80)))?;
    for (purpose, expected) in [(Purpose::Serve, 1), (Purpose::Capture, 1), (Purpose::Explain, 0)] {
        let mut program = Program::load_to(purpose)?;
        program.install(&world)?;
        for (to, from) in program.arrays.flows.words().iter().zip(serving.arrays.flows.words()) {
            to.store(from.load());
        }
        program.run(Side::Back, &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))))?;
        let asked = program.unreached()?;
        ensure!(asked.len() == expected, "{purpose:?}: {asked:?}");
    }
    Ok(())
}

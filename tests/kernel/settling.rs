//! The agent hears at once of connections that settle, as the kernel runs the program; by no copy that only explains; and what
//! found no room is counted.

use anyhow::{Context as _, Result, ensure};
use lb_common::purpose::Purpose;
use lb_common::settled::Settled;
use lb_common::slot::{Class, Slot};
use lb_common::word::Word;
use xlvs_tests::datapath::Engine as _;
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::cases::settling;
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::world::{Server, Service, Side, Told, World};
use xlvs_tests::packet::Ipv4;

/// What the kernel puts in front of each record (`struct bpf_ringbuf_hdr`), bytes.
const HEADER: usize = 8;

#[test]
fn each_connection_that_others_are_told_of_is_announced_once() -> Result<()> {
    settling::check(&mut Program::load()?)
}

#[test]
fn a_copy_that_captures_announces_and_one_that_explains_does_not() -> Result<()> {
    for (purpose, expected) in [(Purpose::Serve, 1), (Purpose::Capture, 1), (Purpose::Explain, 0)] {
        let mut program = Program::load_to(purpose)?;
        let answered = answered(&mut program)?;
        put_back(&program, answered);
        program.run(Side::Front, &from_client(VIP, data(80)))?;
        let announced = program.settled()?.len();
        ensure!(announced == expected, "{purpose:?}: {announced} were announced");
    }
    Ok(())
}

#[test]
fn a_full_ring_is_counted_and_costs_nothing_else() -> Result<()> {
    let mut program = Program::load()?;
    let answered = answered(&mut program)?;
    let room = Settled::RING_BYTES / (HEADER + size_of::<[u64; 2]>());
    let beyond = 5;
    let (mut refused, data) = (0, from_client(VIP, data(80)));
    for _ in 0..room + beyond {
        put_back(&program, answered);
        let observed = program.run(Side::Front, &data)?;
        refused += observed.counters["unannounced"];
        ensure!(observed.verdicts["forwarded_nat"] == 1, "the packet is forwarded");
    }
    let announced = program.settled()?;
    ensure!(announced.len() + refused as usize == room + beyond, "{} and {refused}", announced.len());
    // The kernel leaves a record's room free.
    ensure!((beyond as i64..beyond as i64 + 2).contains(&refused), "{refused} of {beyond} found no room");
    ensure!(announced.is_sorted_by_key(|settled| settled.at), "they come in the order in which they settled");
    put_back(&program, answered);
    program.run(Side::Front, &data)?;
    ensure!(program.settled()?.len() == 1, "there is room again");
    Ok(())
}

/// A connection that the server has answered: the next packet of the client's settles it. Its only word, and where it stands.
fn answered(program: &mut Program) -> Result<(usize, u64)> {
    let service = Service::tcp("web", VIP, 80).told(Told::All);
    let world = World::of(service, [Server::at("rs1", RS1, 8080)]);
    // The connection is made where it can be.
    let mut serving = Program::load()?;
    for program in [&mut serving, &mut *program] {
        program.install(&world)?;
    }
    serving.run(Side::Front, &from_client(VIP, syn(80)))?;
    serving.run(Side::Back, &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))))?;
    let words = serving.arrays.flows.words().iter().map(Word::load).enumerate();
    let (number, word) = words.clone().find(|(_, word)| *word != 0).context("nothing is stored")?;
    ensure!(Slot::from_word(word).map(Slot::class) == Some(Class::Answered), "it has settled already");
    Ok((number, word))
}

fn put_back(program: &Program, (number, word): (usize, u64)) {
    program.arrays.flows.words()[number].store(word);
}

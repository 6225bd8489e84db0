//! Whose way the agent is asked for: a client's who was not heard, and whom the kernel's routing does not know either.

use anyhow::{Result, ensure};
use lb_common::entry::Path;
use lb_common::net::Addr;

use super::people::*;
use super::settling::Announcer;
use crate::datapath::world::{Hop, Server, Service, Side, World, mac_of};
use crate::packet::Ipv4;

/// An engine that shows what it asks the agent for.
pub trait Asker: Announcer {
    /// Since the last call.
    ///
    /// # Errors
    /// If it cannot be read.
    fn take_unreached(&mut self) -> Result<Vec<Addr>>;
}

/// A server speaks to a client of whom nobody has heard since the director took over.
///
/// # Errors
/// Whoever was asked for that should not have been, and the other way round.
pub fn check(engine: &mut impl Asker) -> Result<()> {
    let client = Addr::from(std::net::IpAddr::from(CLIENT));
    let answer = from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080)));
    let world = World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080)]);
    let routed =
        world.clone().with(|world| world.route(CLIENT, Hop { side: Side::Front, mac: mac_of(CLIENT) }));
    for (what, world, verdict, asked) in [
        ("no way", &world, "dropped_no_next_hop", &[client][..]),
        ("a way by the kernel's routing", &routed, "forwarded_nat_reply", &[]),
    ] {
        engine.reset()?;
        engine.install(world)?;
        engine.run(Side::Front, &from_client(VIP, syn(80)))?;
        let heard = engine.run(Side::Back, &answer)?;
        ensure!(heard.verdicts["forwarded_nat_reply"] == 1, "{what}: {:?}", heard.verdicts);
        ensure!(engine.take_unreached()?.is_empty(), "{what}: a client who was heard is asked for");

        engine.arrays().paths.all().iter().flatten().for_each(Path::clear);
        for _ in 0..2 {
            let observed = engine.run(Side::Back, &answer)?;
            ensure!(observed.verdicts[verdict] == 1, "{what}: {:?}", observed.verdicts);
            let told = engine.take_unreached()?;
            ensure!(told == asked, "{what}: {told:?}");
        }
    }
    Ok(())
}

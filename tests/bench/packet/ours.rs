//! xlvs as a contender: its object in the kernel, a world for each of its modes, and a connection table filled with what the
//! scenario wants to find there.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use anyhow::{Result, bail};
use aya::programs::Xdp;
use lb_common::clock::Now;
use lb_common::entry::Then;
use lb_common::purpose::Purpose;
use lb_common::slot::{Class, Geometry, Slot};
use lb_common::verdict::Verdict;
use xlvs_tests::datapath::Engine as _;
use xlvs_tests::datapath::maps::Room;
use xlvs_tests::datapath::plan::VIP_PORT;
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::world::{Limits, Server, Service, Side, World};
use xlvs_tests::family::Family;

use super::scenario::{CLIENT, CLIENT6, SERVER, SERVER_PORT, SERVER6, Scenario, Sends, VIP, VIP6};
use xlvs_tests::datapath::driver::{Buffers, Driver};

const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
const DIRECTOR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 1);
pub const SERVERS: u16 = 50;

/// Buckets of the connection table as a power of two: a million connections.
pub const BUCKET_BITS: u32 = 17;

/// The loaded object: all modes use the one.
pub struct Loaded {
    program: Program,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Dr,
    Nat,
    Tunnel,
    FullNat,
}

/// What a service has beyond its mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    None,
    Affinity,
    AllowList,
    ConnectionLimit,
    PacketLimit,
}

pub struct Ours {
    loaded: Rc<RefCell<Loaded>>,
    pub mode: Mode,
    pub extra: Extra,
}

impl Loaded {
    pub fn load() -> Result<Rc<RefCell<Self>>> {
        let geometry = Geometry::nearest(BUCKET_BITS);
        Self::load_with(Room { geometry, lease_buckets: 1 << 13, maglev: 65_537, ..Room::SMALL })
    }

    /// The same with tables of any size.
    pub fn load_with(room: Room) -> Result<Rc<RefCell<Self>>> {
        let program = Program::load_with(Purpose::Serve, room)?;
        Ok(Rc::new(RefCell::new(Self { program })))
    }

    pub const fn interface(&self) -> u32 {
        self.program.interface(Side::Front)
    }

    /// What the kernel calls first.
    pub fn first(&mut self) -> Result<&mut Xdp> {
        self.program.first()
    }
}

impl Ours {
    pub const fn new(loaded: Rc<RefCell<Loaded>>, mode: Mode, extra: Extra) -> Self {
        Self { loaded, mode, extra }
    }

    pub fn name(&self) -> String {
        let mode = match self.mode {
            Mode::Dr => "xlvs DR",
            Mode::Nat => "xlvs NAT",
            Mode::Tunnel => "xlvs tunnel",
            Mode::FullNat => "xlvs full NAT",
        };
        let extra = match self.extra {
            Extra::None => "",
            Extra::Affinity => ", affinity",
            Extra::AllowList => ", allow list",
            Extra::ConnectionLimit => ", limit of connections",
            Extra::PacketLimit => ", limit of packets a source",
        };
        format!("{mode}{extra}")
    }

    pub fn driver(&self) -> Result<Driver> {
        let mut loaded = self.loaded.borrow_mut();
        let interface = loaded.interface();
        Driver::of(loaded.program.first()?.fd()?, Buffers::Several, interface)
    }

    pub const fn can(&self, scenario: &Scenario) -> bool {
        let settled = matches!(scenario.sends, Sends::Established(0) | Sends::Opens | Sends::Stranger);
        match (self.mode, self.extra) {
            _ if matches!(scenario.sends, Sends::Replies(_)) => {
                matches!((self.mode, self.extra), (Mode::Nat, Extra::None))
            }
            (_, Extra::None) => !matches!(self.mode, Mode::FullNat) || settled,
            _ => matches!(scenario.sends, Sends::Established(0) | Sends::Opens),
        }
    }

    /// The verdict that every packet of the scenario must end in.
    pub const fn expected(&self, scenario: &Scenario) -> Verdict {
        match (scenario.sends, self.mode) {
            (Sends::Stranger, _) => Verdict::PassedNotOurs,
            (Sends::Replies(_), _) => Verdict::ForwardedNatReply,
            (_, Mode::Dr) => Verdict::ForwardedDr,
            (_, Mode::Nat) => Verdict::ForwardedNat,
            (_, Mode::Tunnel) => Verdict::ForwardedTunnel,
            (_, Mode::FullNat) => Verdict::ForwardedFullNat,
        }
    }

    pub fn verdicts(&self) -> Result<Vec<u64>> {
        self.loaded.borrow().program.verdicts()
    }

    /// Makes the world, and stores the connections that the scenario is to find.
    pub fn prepare(&self, driver: &mut Driver, scenario: &Scenario) -> Result<()> {
        {
            let program = &mut self.loaded.borrow_mut().program;
            program.reset()?;
            program.install(&self.world(scenario))?;
            program.pass(0)?;
        }
        if let Some(bits) = scenario.stored() {
            driver.run(&scenario.opening(bits), 1 << bits)?;
            self.establish(1 << bits)?;
        }
        if scenario.sends == Sends::OpensInFlood {
            // Twice as many as there are places.
            let bits = BUCKET_BITS + 3 + 1;
            driver.run(&scenario.opening(bits), 1 << bits)?;
        }
        self.loaded.borrow_mut().program.pass(0)
    }

    /// The agent lives, by the data path's clock.
    pub fn go_on(&self) -> Result<()> {
        self.loaded.borrow_mut().program.pass(0)
    }

    /// As if both sides had spoken on all connections.
    fn establish(&self, opened: u64) -> Result<()> {
        let program = &self.loaded.borrow().program;
        let now = Now::at_tick(program.arrays.ticks());
        let mut stored = 0;
        let tables = [program.arrays.flows.words(), program.arrays.leases.words()];
        for word in tables.into_iter().flatten() {
            if let Some(slot) = Slot::from_word(word.load()) {
                word.store(slot.with_class(Class::Established, now).word());
                stored += 1;
            }
        }
        // A few find no place in a table that is half full, and count as everyone does.
        if stored * 1000 < opened * 999 {
            bail!("{}: only {stored} of {opened} connections were stored", self.name());
        }
        Ok(())
    }

    fn world(&self, scenario: &Scenario) -> World {
        let family = scenario.family;
        let vip = family.choose(VIP, VIP6);
        let service = Service::tcp("web", vip, VIP_PORT);
        let service = match self.mode {
            Mode::Dr => service.direct(),
            Mode::Nat => service,
            Mode::Tunnel => service.tunnelled(family.choose(DIRECTOR, DIRECTOR6)),
            Mode::FullNat => service.full_nat(),
        };
        let service = match self.extra {
            Extra::None => service,
            Extra::Affinity => service.affine("web", Then::Rehash),
            Extra::AllowList => service.allow(family.choose(CLIENT, CLIENT6), 16),
            Extra::ConnectionLimit => {
                service.limit(Limits { connections: MANY, source_connections: MANY, ..Limits::default() })
            }
            Extra::PacketLimit => service.limit(Limits { source_packets: MANY, ..Limits::default() }),
        };
        // One server explains every reply.
        let servers = if matches!(scenario.sends, Sends::Replies(_)) { 1 } else { SERVERS };
        let server = |number| {
            let address = address(family, number);
            let port = if matches!(self.mode, Mode::Nat | Mode::FullNat) { SERVER_PORT } else { VIP_PORT };
            Server::at(NAMES[usize::from(number) % NAMES.len()], address, port).in_front()
        };
        let mut world = World::of(service.clone(), (0..servers).map(server));
        for number in 1..scenario.services {
            let other = Service { port: service.port + number, ..service.clone() };
            // A server of its own, which listens where the service does.
            let own = server(SERVERS + number - 1);
            let port = if self.mode == Mode::Dr { other.port } else { own.port };
            world = world.and(other, [Server { port, ..own }]);
        }
        if self.mode == Mode::FullNat {
            return world.sending_from(&[family.choose(DIRECTOR, DIRECTOR6)], (1024, 60_000));
        }
        world
    }
}

/// A second, more than the bench sends.
const MANY: u32 = 1_000_000_000;

pub fn address(family: Family, number: u16) -> IpAddr {
    let (v4, v6) = (u32::from(SERVER) + u32::from(number), u128::from(SERVER6) + u128::from(number));
    family.choose(Ipv4Addr::from(v4), Ipv6Addr::from(v6))
}

/// Names decide the places in Maglev's table: these are as good as any.
const NAMES: [&str; SERVERS as usize] = [
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4", "b5", "b6",
    "b7", "b8", "b9", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "d0", "d1", "d2", "d3",
    "d4", "d5", "d6", "d7", "d8", "d9", "e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9",
];

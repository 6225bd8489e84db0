//! Ports in maps of the real shape: what is told of them, and what others tell.

use lb_common::identity::{HashKey, KEY_WORDS};
use lb_common::net::Protocol;
use lb_common::slot::{Class as SlotClass, Limits};

use super::*;
use crate::agent::cluster::exports::Exports;
use crate::agent::cluster::handing;
use crate::agent::cluster::seats::Seats;
use crate::agent::desired;
use crate::agent::eligible::Circumstances;
use crate::agent::install::Installation;
use crate::agent::pool as pool_maps;
use crate::agent::replicas::Told;
use crate::agent::sizes;
use crate::agent::standing::{self, Standings};
use crate::config;
use crate::net::{NextHop, View};
use crate::replication::backup::Scope;
use crate::replication::join::Patience;
use crate::replication::record::ByKind;
use crate::replication::replicator::Setup;
use crate::replication::store::Bounds;
use crate::replication::version::{NodeId, Origin};

const POOL: &str = "addresses = [\"198.51.100.200\", \"2001:db8:2::200\"]\nports = \"20000-20063\"";
const SERVICE: &str = r#"
    [[service]]
    name = "web"
    vip = ["192.0.2.1", "2001:db8::1"]
    port = "8000-8009"
    mode = "fullnat"
    health = { kind = "none" }
    [[service.server]]
    name = "rs1"
    address = ["198.51.100.1", "2001:db8:2::1"]
    [[service.server]]
    name = "rs2"
    address = ["198.51.100.2", "2001:db8:2::2"]
"#;
const LIMITS: Limits = Limits { new: 28, closing: 112, established: 13 };

struct Director {
    installation: Installation,
    naming: Naming,
    leases: Leases,
    replicator: Replicator,
    now: Instant,
}

/// A client's connection.
#[derive(Clone, Copy)]
struct Client {
    ipv6: bool,
    port: u16,
}

const CLIENT: Client = Client { ipv6: false, port: 40_000 };

impl Client {
    fn tuple(self) -> Tuple {
        let (client, vip): (IpAddr, IpAddr) = if self.ipv6 {
            ([0x2001, 0xdb8, 1, 0, 0, 0, 0, 7].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into())
        } else {
            ([203, 0, 113, 7].into(), [192, 0, 2, 1].into())
        };
        Tuple {
            client: client.into(),
            vip: vip.into(),
            client_port: Port::from_host(self.port),
            vip_port: Port::from_host(8003),
            protocol: Protocol::Tcp,
        }
    }
}

impl Director {
    fn new() -> Self {
        Self::of_pool(POOL, "")
    }

    /// The other one, of the same configuration.
    fn second() -> Self {
        Self::named(["lb2", "lb1"], POOL, "")
    }

    fn of_pool(pool: &str, lines: &str) -> Self {
        Self::named(["lb1", "lb2"], pool, lines)
    }

    fn named(names: [&str; 2], pool: &str, lines: &str) -> Self {
        let now = Instant::now();
        let service = SERVICE.replace("mode = ", &format!("{lines}\nmode = "));
        let text = format!("[fullnat]\n{pool}\n{service}");
        let model = config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let sizes = sizes::of(&model);
        let maps = Maps::own(&sizes).unwrap();
        pool_maps::found(maps.pool.only(), &model.fullnat);
        maps.settings.only().found(&HashKey([7; KEY_WORDS]), sizes.geometry);
        let standings = standing::prepared(&model, &Standings::new());
        let wanted = desired::services(&model, &standings, &Circumstances::default());
        let hop = |ip: IpAddr| (ip, NextHop { mac: [2, 0, 0, 0, 0, 1], ifindex: 2, via: ip });
        let servers = wanted.iter().flat_map(|lane| &lane.servers);
        let hops = servers.map(|it| hop(it.address.into())).collect();
        let mut installation = Installation::of(maps, now);
        installation.reconcile(&wanted, &View { hops, ..View::default() }, now).unwrap();
        let naming = Naming::of(&model, &wanted, &installation.ledger, &Naming::default());
        let [node, peer] = names.map(NodeId::of);
        let setup = Setup {
            origin: Origin { node, life: 1 },
            recovering: false,
            domain: String::new(),
            since_1970: Duration::ZERO,
            peers: [peer].into(),
            scope: Scope::All,
            bounds: Bounds {
                records: ByKind { connections: 1, seats: 0, leases: 30 },
                tombstones: 99,
                origins: 4,
                longest_idle: Duration::from_secs(7200),
            },
            quarantine: 9,
            dirty: 99,
            digest_interval: Duration::from_secs(10),
            patience: Patience::default(),
        };
        let mut replicator = Replicator::new(setup, 0, now);
        replicator.configure(naming.pairs()).unwrap();
        let leases = Leases::new(installation.maps.leases.all().len());
        Self { installation, naming, leases, replicator, now }
    }

    fn maps(&self) -> &Maps {
        &self.installation.maps
    }

    /// Of the lane of this family, the first one or the second one.
    fn server(&self, ipv6: bool, number: usize) -> ServerId {
        let is_its =
            |id: &ServerId| self.maps().servers.get(id.index()).unwrap().vip.load().as_v4().is_none() == ipv6;
        let mut ids: Vec<ServerId> = self.naming.ids().filter(is_its).collect();
        ids.sort();
        ids[number]
    }

    fn flow(&self, client: Client) -> FlowId {
        self.maps().settings.only().flow_id(&client.tuple())
    }

    /// The data path lends the client a port.
    fn lend(&self, client: Client) -> Option<Place> {
        let maps = self.maps();
        let table = maps.lease_table(client.ipv6).unwrap();
        let (server, now) = (self.server(client.ipv6, 0), maps.clock.only().now());
        let admission = table.admit(self.flow(client), server, false, now, LIMITS, |_, _| false);
        let place = admission.place()?;
        maps.tenants.get(place.number()).unwrap().note(&client.tuple());
        table.at(place).unwrap().refresh(SlotClass::Established, now);
        Some(place)
    }

    /// What a packet of the client finds: the server, and where it is sent from.
    fn found(&self, client: Client) -> Option<(ServerId, (Addr, Port))> {
        let maps = self.maps();
        let table = maps.lease_table(client.ipv6)?;
        let place = table.locate(self.flow(client))?;
        let tuple = client.tuple();
        let noted = maps.tenants.get(place.number())?.tuple(tuple.vip, tuple.protocol);
        assert!(noted.client == tuple.client && noted.ports() == tuple.ports(), "found by a tag alone");
        Some((table.at(place)?.slot().server()?, maps.pool.only().source(place)?))
    }

    /// A packet of the client comes by.
    fn comes_by(&self, client: Client) {
        let table = self.maps().lease_table(client.ipv6).unwrap();
        let entry = table.find(self.flow(client)).unwrap();
        assert!(entry.refresh(entry.slot().class(), self.maps().clock.only().now()), "it shows");
    }

    fn pass(&self, coarse_ticks: u32) {
        let clock = self.maps().clock.only();
        let begun = clock.now().ticks();
        for tick in 1..=u64::from(coarse_ticks * COARSE_TICKS) {
            assert!(clock.advance((begun + tick) * lb_common::clock::TICK_NS));
        }
    }

    fn round(&mut self) {
        let Self { installation, naming, leases, replicator, now } = self;
        leases.finish(&installation.maps, naming, replicator, *now);
    }

    fn told(&self, client: Client) -> Option<(Stage, Lease)> {
        let entry = self.replicator.store().get(self.flow(client))?;
        match entry.connection()?.class {
            Class::Lease(stage, lease) if entry.version.origin == self.replicator.origin() => {
                Some((stage, lease))
            }
            _ => None,
        }
    }

    /// Another director has lent this port.
    fn put(&mut self, client: Client, number: usize, stage: Stage, lease: &Lease) {
        let (flow, server) = (self.flow(client), self.server(client.ipv6, number));
        self.leases.put(&self.installation.maps, flow, server, stage, lease);
    }

    fn take(&mut self, client: Client) {
        let flow = self.flow(client);
        self.leases.take(&self.installation.maps, flow);
    }

    fn lacks(&self) -> [usize; 2] {
        [Lack::Lent, Lack::OtherPool].map(|lack| self.leases.without(lack))
    }

    /// What another director says from now on is applied here, and handed to the data path.
    fn hear(&mut self, other: &mut Self) {
        let (now, [one, two]) = (self.now, ["lb1", "lb2"].map(NodeId::of));
        let (here, there) =
            (self.replicator.connected(two).unwrap(), other.replicator.connected(one).unwrap());
        let mut quiet = false;
        while !quiet {
            quiet = true;
            while let Some(body) = self.replicator.transmit(here, now) {
                other.replicator.receive(there, &body, now).unwrap();
                quiet = false;
            }
            while let Some(body) = other.replicator.transmit(there, now) {
                self.replicator.receive(here, &body, now).unwrap();
                quiet = false;
            }
        }
        let Self { installation: Installation { maps, .. }, naming, leases, replicator, .. } = self;
        let exports = Exports::new(maps.flows.all().len());
        let (mut told, mut seats) = (Told::found(maps), Seats::new(maps.seats.all().len()));
        handing::hand_over(replicator, naming, &exports, &mut told, &mut seats, leases, maps);
        assert_eq!(told.held(), 0, "it is not by its server alone that it goes on");
        self.replicator.disconnected(here);
        other.replicator.disconnected(there);
    }
}

/// What a director says of a connection that it has lent a port.
fn lent(client: Client) -> Lease {
    let mut director = Director::new();
    director.lend(client).unwrap();
    director.round();
    director.told(client).unwrap().1
}

#[test]
fn a_port_is_told_with_its_client_until_it_is_free() {
    for ipv6 in [false, true] {
        let (mut director, client) = (Director::new(), Client { ipv6, ..CLIENT });
        let place = director.lend(client).unwrap();
        director.round();
        let (addr, port) = director.maps().pool.only().source(place).unwrap();
        let tuple = client.tuple();
        let lease = Lease {
            source: addr.into(),
            source_port: port.to_host(),
            client: tuple.client.into(),
            client_port: 40_000,
            vip_port: 8003,
        };
        assert_eq!(director.told(client), Some((Stage::Established, lease)));
        assert_eq!(director.replicator.store().live_by_kind(), ByKind { leases: 1, ..ByKind::NONE });
        let table = director.maps().lease_table(ipv6).unwrap();
        table.at(place).unwrap().refresh(SlotClass::Closing, director.maps().clock.only().now());
        director.round();
        assert_eq!(director.told(client), Some((Stage::Closing, lease)), "it rests");
        director.maps().leases.get(place.bucket).unwrap()[place.index as usize].store(0);
        director.round();
        assert_eq!(director.told(client), None);
    }
}

#[test]
fn half_of_a_handshake_and_what_is_not_noted_are_not_told() {
    let mut director = Director::new();
    let place = director.lend(CLIENT).unwrap();
    director.maps().tenants.get(place.number()).unwrap().note(&Client { port: 1, ..CLIENT }.tuple());
    director.round();
    assert_eq!(director.replicator.store().live(), 0);
    director.maps().tenants.get(place.number()).unwrap().note(&CLIENT.tuple());
    director.round();
    assert!(director.told(CLIENT).is_some());
    let table = director.maps().lease_table(false).unwrap();
    let server = director.server(false, 1);
    assert!(table.at(place).unwrap().move_to(server, false, director.maps().clock.only().now()));
    director.round();
    assert_eq!(director.told(CLIENT), None, "its client has begun anew");
}

#[test]
fn what_is_told_follows_the_configuration() {
    let mut director = Director::of_pool(POOL, "replicate = \"none\"");
    director.lend(CLIENT).unwrap();
    director.round();
    assert_eq!(director.told(CLIENT), None);
    let mut director = Director::of_pool(POOL, "replicate_after = \"3s\"");
    director.lend(CLIENT).unwrap();
    for told in [false, false, true] {
        director.round();
        assert_eq!(director.told(CLIENT).is_some(), told);
        director.now += Duration::from_secs(2);
    }
}

#[test]
fn what_another_tells_stands_where_its_packets_find_it_and_is_no_news() {
    for ipv6 in [false, true] {
        let client = Client { ipv6, ..CLIENT };
        let (mut director, lease) = (Director::new(), lent(client));
        director.put(client, 0, Stage::Established, &lease);
        let source = (Addr::from(lease.source), Port::from_host(lease.source_port));
        assert_eq!(director.found(client), Some((director.server(ipv6, 0), source)));
        director.put(client, 1, Stage::HalfClosed, &lease);
        assert_eq!(director.found(client), Some((director.server(ipv6, 1), source)), "it has moved there");
        director.round();
        assert_eq!(director.told(client), None, "it is the other's to tell");
        assert_eq!((director.leases.kept(), director.lacks()), (1, [0, 0]));
        director.take(client);
        assert_eq!((director.found(client), director.leases.kept()), (None, 0));
    }
}

#[test]
fn every_port_of_a_full_pool_is_kept() {
    let (mut first, mut second) = (Director::new(), Director::second());
    let all: Vec<Client> = (0..30).map(|port| Client { ipv6: port % 2 == 0, port }).collect();
    let lent: Vec<Client> = all.into_iter().filter(|client| second.lend(*client).is_some()).collect();
    assert!(lent.len() > 25);
    second.round();
    first.hear(&mut second);
    assert_eq!((first.leases.kept(), first.lacks()), (lent.len(), [0, 0]));
    for client in &lent {
        assert_eq!(first.found(*client), second.found(*client));
    }
    // Of what has ended nothing is left.
    for word in second.maps().leases.all().iter().flatten() {
        word.store(0);
    }
    second.round();
    first.hear(&mut second);
    assert_eq!(first.leases.kept(), 0);
    assert!(first.maps().leases.all().iter().flatten().all(|word| word.load() == 0));
}

#[test]
fn one_that_is_kept_does_not_age_and_the_first_packet_shows() {
    let (mut director, lease) = (Director::new(), lent(CLIENT));
    director.put(CLIENT, 0, Stage::Established, &lease);
    for _ in 0..40 {
        director.pass(1);
        director.round();
        let table = director.maps().lease_table(false).unwrap();
        let slot = table.find(director.flow(CLIENT)).unwrap().slot();
        assert!(!slot.expired(director.maps().clock.only().now(), LIMITS));
    }
    assert_eq!(director.told(CLIENT), None);
    director.comes_by(CLIENT);
    director.take(CLIENT);
    assert!(director.found(CLIENT).is_some(), "what others said of it is older");
    director.round();
    assert_eq!(director.told(CLIENT), Some((Stage::Established, lease)), "it is ours");
    assert_eq!(director.leases.kept(), 0);
}

#[test]
fn one_that_rests_does_so_no_longer_than_where_it_was_lent() {
    let (mut director, lease) = (Director::new(), lent(CLIENT));
    director.put(CLIENT, 0, Stage::Closing, &lease);
    director.pass(2);
    director.round();
    let slot = director.maps().lease_table(false).unwrap().find(director.flow(CLIENT)).unwrap().slot();
    assert!(slot.expired(director.maps().clock.only().now(), LIMITS));
}

#[test]
fn a_port_that_is_lent_here_is_not_taken_and_tried_again() {
    // Two clients that would have the same port.
    let at = |port| {
        let director = Director::new();
        (Client { port, ..CLIENT }, director.lend(Client { port, ..CLIENT }).unwrap())
    };
    let (own, place) = at(1);
    let (other, _) = (2..2000).map(at).find(|(_, its)| *its == place).expect("64 ports");
    let lease = lent(other);
    let mut director = Director::new();
    director.lend(own).unwrap();
    director.round();
    let before = director.found(own);
    director.put(other, 0, Stage::Established, &lease);
    director.round();
    assert_eq!((director.found(own), director.found(other)), (before, None));
    assert_eq!(director.lacks(), [1, 0]);
    assert!(director.told(own).is_some());
    director.take(other);
    assert_eq!(director.lacks(), [0, 0]);
    // While another says so, it is tried again.
    let mut second = Director::second();
    second.lend(other).unwrap();
    second.round();
    director.hear(&mut second);
    assert_eq!(director.lacks(), [1, 0]);
    director.maps().leases.get(place.bucket).unwrap()[place.index as usize].store(0);
    director.round();
    assert_eq!((director.found(other), director.lacks()), (second.found(other), [0, 0]));
}

#[test]
fn a_connection_that_has_another_port_since_gives_up_the_first() {
    let (mut director, lease) = (Director::new(), lent(CLIENT));
    // Its first choice of port is somebody else's, so that it has another one here.
    let place = Director::new().lend(CLIENT).unwrap();
    let blocker = Slot::fresh(director.server(false, 1), 1, false, false, director.maps().clock.only().now());
    let store = |director: &Director, word| {
        director.maps().leases.get(place.bucket).unwrap()[place.index as usize].store(word);
    };
    store(&director, blocker.word());
    assert_ne!(director.lend(CLIENT), Some(place));
    store(&director, 0);
    director.put(CLIENT, 0, Stage::Established, &lease);
    assert_eq!(director.lacks(), [1, 0], "packets may still come by it");
    director.round();
    director.put(CLIENT, 0, Stage::Established, &lease);
    let source = (Addr::from(lease.source), Port::from_host(lease.source_port));
    assert_eq!(director.found(CLIENT).unwrap().1, source);
    assert_eq!(director.maps().leases.all().iter().flatten().filter(|word| word.load() != 0).count(), 1);
}

#[test]
fn ports_of_another_pool_and_of_other_ends_are_not_believed() {
    let lease = lent(CLIENT);
    for pool in [
        POOL.replace("20000-20063", "30000-30063"),
        POOL.replace("100.200", "100.201"),
        POOL.replace("20000-20063", "20000-20015"),
    ] {
        let mut director = Director::of_pool(&pool, "");
        // In a smaller pool some would be where they are looked for.
        let is_alike = Director::of_pool(&pool, "")
            .lend(CLIENT)
            .and_then(|place| director.maps().pool.only().source(place))
            .is_some_and(|(addr, port)| (addr.into(), port.to_host()) == (lease.source, lease.source_port));
        director.put(CLIENT, 0, Stage::Established, &lease);
        assert_eq!(
            (director.found(CLIENT).is_some(), director.lacks()[1]),
            (is_alike, 1 - usize::from(is_alike))
        );
    }
    let mut director = Director::new();
    director.put(CLIENT, 0, Stage::Established, &Lease { client_port: 1, ..lease });
    director.put(CLIENT, 0, Stage::Established, &Lease { source_port: lease.source_port ^ 32, ..lease });
    assert_eq!((director.found(CLIENT), director.leases.kept()), (None, 0));
}

#[test]
fn what_a_killed_agent_has_claimed_is_finished_by_the_next() {
    let (mut director, lease) = (Director::new(), lent(CLIENT));
    let wanted =
        wanted(director.maps(), director.flow(CLIENT), director.server(false, 0), Stage::Established, &lease)
            .unwrap();
    director.maps().leases.get(wanted.place.bucket).unwrap()[wanted.place.index as usize]
        .store(wanted.claim.word());
    assert_eq!(director.found(CLIENT), None, "nobody finds it before it is noted");
    director.pass(3);
    director.put(CLIENT, 0, Stage::Established, &lease);
    assert!(director.found(CLIENT).is_some());
}

#[test]
fn the_next_agent_keeps_what_another_director_has() {
    let (mut first, mut second) = (Director::new(), Director::second());
    second.lend(CLIENT).unwrap();
    second.round();
    first.hear(&mut second);
    first.leases = Leases::new(first.maps().leases.all().len());
    first.pass(1);
    first.round();
    assert_eq!((first.told(CLIENT), first.leases.kept()), (None, 1));
    first.pass(1);
    first.round();
    first.comes_by(CLIENT);
    first.round();
    assert!(first.told(CLIENT).is_some());
}

/// By full NAT a server alone says nothing.
#[test]
fn a_record_of_the_wrong_kind_leads_nowhere() {
    let (mut first, mut second) = (Director::new(), Director::second());
    let flow = second.flow(CLIENT);
    let (told, _) = second.naming.record(second.server(false, 0), Class::Established).unwrap();
    second.replicator.publish(flow, told, second.now).unwrap();
    first.hear(&mut second);
    assert!(first.replicator.replica(flow).is_some(), "it has been heard");
    assert_eq!(first.found(CLIENT), None);
}

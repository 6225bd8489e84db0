//! Seats in maps of the real shape: what is told of them, and what others tell.

use std::time::Duration;

use lb_common::identity::{HashKey, KEY_WORDS};
use lb_common::net::{Port, Tuple};

use super::*;
use crate::agent::desired;
use crate::agent::eligible::Circumstances;
use crate::agent::install::Installation;
use crate::agent::sizes;
use crate::agent::standing::{self, Standings};
use crate::config;
use crate::net::{NextHop, View};
use crate::replication::backup::Scope;
use crate::replication::join::Patience;
use crate::replication::record::{ByKind, Class as Told};
use crate::replication::replicator::Setup;
use crate::replication::store::Bounds;
use crate::replication::version::{NodeId, Origin};

const TEXT: &str = r#"
    [[service]]
    name = "web"
    vip = "192.0.2.1"
    port = 80
    mode = "nat"
    affinity = { by = "source", timeout = "300s" }
    health = { kind = "none" }
    [[service.server]]
    name = "rs1"
    address = "198.51.100.1"
    [[service.server]]
    name = "rs2"
    address = "198.51.100.2"
"#;

struct Director {
    installation: Installation,
    naming: Naming,
    seats: Seats,
    replicator: Replicator,
    now: Instant,
}

fn source() -> IpAddr {
    IpAddr::from([203, 0, 113, 7])
}

fn server(number: u16) -> ServerId {
    ServerId::new(number).unwrap()
}

impl Director {
    fn new() -> Self {
        let now = Instant::now();
        let model = config::load_str("t.toml", TEXT).unwrap_or_else(|problems| panic!("{problems}"));
        let sizes = sizes::of(&model);
        let maps = Maps::own(&sizes).unwrap();
        maps.settings.only().found(&HashKey([7; KEY_WORDS]), sizes.geometry);
        let standings = standing::prepared(&model, &Standings::new());
        let wanted = desired::services(&model, &standings, &Circumstances::default());
        let hop = |ip: IpAddr| (ip, NextHop { mac: [2, 0, 0, 0, 0, 1], ifindex: 2, via: ip });
        let hops = wanted[0].servers.iter().map(|it| hop(it.address.into())).collect();
        let mut installation = Installation::of(maps, now);
        installation.reconcile(&wanted, &View { hops, ..View::default() }, now).unwrap();
        let naming = Naming::of(&model, &wanted, &installation.ledger, &Naming::default());
        let [node, peer] = ["lb1", "lb2"].map(NodeId::of);
        let setup = Setup {
            origin: Origin { node, life: 1 },
            recovering: false,
            domain: String::new(),
            since_1970: Duration::ZERO,
            peers: [peer].into(),
            scope: Scope::All,
            bounds: Bounds {
                records: ByKind { seats: 1, ..ByKind::NONE },
                tombstones: 9,
                origins: 4,
                longest_idle: Duration::from_secs(7200),
            },
            quarantine: 9,
            dirty: 9,
            digest_interval: Duration::from_secs(10),
            patience: Patience::default(),
        };
        let mut replicator = Replicator::new(setup, 0, now);
        replicator.configure(naming.pairs()).unwrap();
        let seats = Seats::new(installation.maps.seats.all().len());
        Self { installation, naming, seats, replicator, now }
    }

    fn maps(&self) -> &Maps {
        &self.installation.maps
    }

    fn flow(&self, source: IpAddr) -> FlowId {
        let group = rules(self.maps(), server(1)).unwrap().group.load();
        self.maps().settings.only().flow_id(&Affinity::key(Addr::from(source), group))
    }

    /// A client of this source takes a seat, as the data path does it.
    fn sit(&self, source: IpAddr, at: ServerId) {
        let affinity = rules(self.maps(), at).unwrap();
        let (now, flow) = (self.maps().clock.only().now(), self.flow(source));
        let table = table(self.maps());
        let place = table.admit(flow, at, false, now, affinity.limits(), |_, _| false).place().unwrap();
        table.at(place).unwrap().refresh(Terms::from_word(affinity.terms.load()).class(), now);
        let key = Affinity::key(Addr::from(source), affinity.group.load());
        self.maps().sitters.get(place.number()).unwrap().note(&key);
    }

    fn seated(&self, source: IpAddr) -> Option<ServerId> {
        table(self.maps()).find(self.flow(source))?.slot().server()
    }

    fn round(&mut self) {
        let Self { installation, naming, seats, replicator, now } = self;
        for _ in 0..STEPS {
            seats.step(&installation.maps, naming, replicator, *now);
        }
    }

    fn put(&mut self, source: IpAddr, at: ServerId) -> bool {
        let flow = self.flow(source);
        self.seats.put(&self.installation.maps, flow, at, source)
    }

    fn take(&mut self, source: IpAddr) {
        let flow = self.flow(source);
        self.seats.take(&self.installation.maps, flow);
    }

    fn told(&self, source: IpAddr) -> Option<Told> {
        let entry = self.replicator.store().get(self.flow(source))?;
        entry.connection().map(|seat| seat.class)
    }

    /// A client comes by: its seat is taken for longer.
    fn comes_by(&self, source: IpAddr) {
        let clock = self.maps().clock.only();
        for tick in 1..=u64::from(2 * COARSE_TICKS) {
            assert!(clock.advance(tick * TICK_NS));
        }
        let table = table(self.maps());
        let seat = table.find(self.flow(source)).unwrap();
        assert!(seat.refresh(seat.slot().class(), clock.now()));
    }
}

#[test]
fn a_seat_is_told_with_its_source_until_it_is_free() {
    let mut director = Director::new();
    director.sit(source(), server(2));
    director.round();
    assert_eq!(director.told(source()), Some(Told::Seat(source())));
    assert_eq!(director.replicator.store().live_by_kind().seats, 1);
    let place = table(director.maps()).locate(director.flow(source())).unwrap();
    director.maps().seats.get(place.bucket).unwrap()[place.index as usize].store(0);
    director.round();
    assert_eq!(director.told(source()), None);
}

#[test]
fn a_seat_whose_source_is_not_noted_is_not_told() {
    let mut director = Director::new();
    director.sit(source(), server(1));
    let place = table(director.maps()).locate(director.flow(source())).unwrap();
    director.maps().sitters.get(place.number()).unwrap().note(&Tuple {
        client: Addr::from(IpAddr::from([203, 0, 113, 8])),
        vip: Addr::v4([0; 4]),
        client_port: Port::ANY,
        vip_port: Port::ANY,
        protocol: Protocol::Udp,
    });
    director.round();
    assert_eq!(director.told(source()), None);
}

#[test]
fn what_another_tells_is_kept_follows_what_it_tells_and_is_no_news() {
    let mut director = Director::new();
    assert!(director.put(source(), server(1)));
    assert_eq!(director.seated(source()), Some(server(1)));
    assert!(director.put(source(), server(2)));
    assert_eq!(director.seated(source()), Some(server(2)), "it has moved there");
    director.round();
    assert_eq!(director.told(source()), None, "it is the other's to tell");
    director.take(source());
    assert_eq!(director.seated(source()), None);
}

#[test]
fn a_seat_by_which_a_client_has_come_is_ours() {
    let mut director = Director::new();
    assert!(director.put(source(), server(1)));
    director.comes_by(source());
    assert!(director.put(source(), server(2)));
    director.take(source());
    assert_eq!(director.seated(source()), Some(server(1)), "what others said of it is older");
    director.round();
    assert_eq!(director.told(source()), Some(Told::Seat(source())));
}

#[test]
fn a_source_whose_flow_id_is_another_is_not_believed() {
    let mut director = Director::new();
    let flow = director.flow(IpAddr::from([203, 0, 113, 8]));
    assert!(!director.seats.put(&director.installation.maps, flow, server(1), source()));
    assert_eq!(director.seated(source()), None);
}

#[test]
fn seats_have_a_limit_of_their_own() {
    let mut director = Director::new();
    let other = IpAddr::from([203, 0, 113, 8]);
    director.sit(source(), server(1));
    director.round();
    director.sit(other, server(1));
    director.round();
    assert_eq!(director.told(other), None, "there is room for one");
    let place = table(director.maps()).locate(director.flow(source())).unwrap();
    director.maps().seats.get(place.bucket).unwrap()[place.index as usize].store(0);
    director.round();
    director.round();
    assert_eq!(director.told(other), Some(Told::Seat(other)));
}

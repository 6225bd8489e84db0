//! A table of the real shape, written as the data path would, and what its peers would hold.

use std::time::Duration;

use lb_common::clock::Now;
use lb_common::identity::HashKey;
use lb_common::slot::{Class as SlotClass, Limits, ServerId};

use super::*;
use crate::agent::cluster::handing;
use crate::agent::cluster::leases::Leases;
use crate::agent::cluster::naming::Naming;
use crate::agent::cluster::seats::Seats;
use crate::agent::desired;
use crate::agent::eligible::Circumstances;
use crate::agent::ledger::Ledger;
use crate::agent::replicas::Told;
use crate::agent::sizes;
use crate::agent::standing::Standings;
use crate::config;
use crate::dataplane::Maps;
use crate::replication::backup::Scope;
use crate::replication::join::Patience;
use crate::replication::record::ByKind;
use crate::replication::replicator::Setup;
use crate::replication::store::Bounds;
use crate::replication::version::{NodeId, Origin};

const LIMITS: Limits = Limits { new: 30, closing: 120, established: 15 };

struct Director {
    maps: Maps,
    ledger: Ledger,
    naming: Naming,
    exports: Exports,
    replicator: Replicator,
    now: Instant,
}

fn text(lines: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\nvip = \"192.0.2.1\"\nport = 80\nhealth = {{ kind = \"none\" }}\n{lines}\n\
         [[service.server]]\nname = \"rs1\"\naddress = \"198.51.100.1\"\n"
    )
}

fn flow(number: u64) -> FlowId {
    FlowId::from_bits(lb_common::identity::mix(number))
}

fn server() -> ServerId {
    ServerId::new(1).unwrap()
}

fn setup(node: &str, peer: &str) -> Setup {
    Setup {
        origin: Origin { node: NodeId::of(node), life: 1 },
        recovering: false,
        domain: String::new(),
        since_1970: Duration::ZERO,
        peers: [NodeId::of(peer)].into(),
        scope: Scope::All,
        bounds: Bounds {
            records: ByKind { connections: 100, ..ByKind::NONE },
            tombstones: 100,
            origins: 4,
            longest_idle: Duration::from_secs(7200),
        },
        quarantine: 10,
        dirty: 100,
        digest_interval: Duration::from_secs(10),
        patience: Patience::default(),
    }
}

impl Director {
    fn new(lines: &str) -> Self {
        let now = Instant::now();
        let model = config::load_str("t.toml", &text(lines)).unwrap_or_else(|problems| panic!("{problems}"));
        let sizes = sizes::of(&model);
        let maps = Maps::own(&sizes).unwrap();
        maps.settings.only().found(&HashKey([7; lb_common::identity::KEY_WORDS]), sizes.geometry);
        let exports = Exports::new(maps.flows.all().len());
        let replicator = Replicator::new(setup("lb1", "lb2"), 0, now);
        let (ledger, naming) = (Ledger::empty(8, 8), Naming::default());
        let mut director = Self { maps, ledger, naming, exports, replicator, now };
        director.configure(lines);
        director
    }

    fn configure(&mut self, lines: &str) {
        let model = config::load_str("t.toml", &text(lines)).unwrap_or_else(|problems| panic!("{problems}"));
        let wanted = desired::services(&model, &Standings::new(), &Circumstances::default());
        self.ledger.assign(&wanted).unwrap();
        self.naming = Naming::of(&model, &wanted, &self.ledger, &self.naming);
        self.replicator.configure(self.naming.pairs()).unwrap();
        self.exports.look_again();
    }

    /// The data path stores a connection that has come so far, at this tick of its clock.
    fn store(&self, flow: FlowId, class: SlotClass, tick: u32) {
        let (table, now) = (self.maps.flow_table(), Now::at_tick(tick));
        if table.find(flow).is_none() {
            table.admit(flow, server(), false, now, LIMITS, |_, _| false).place().unwrap();
        }
        table.find(flow).unwrap().refresh(class, now);
    }

    fn clear(&self, flow: FlowId) {
        let place = self.maps.flow_table().locate(flow).unwrap();
        self.maps.flows.get(place.bucket).unwrap()[place.index as usize].store(0);
    }

    /// A round over the table.
    fn round(&mut self) {
        self.now += Duration::from_secs(1);
        for _ in 0..STEPS {
            self.exports.step(&self.maps, &self.naming, &mut self.replicator, self.now);
        }
    }

    /// The data path has announced that these settled so long ago.
    fn hear(&mut self, flows: &[FlowId], age: Duration) {
        let settled: Vec<_> = flows.iter().map(|flow| (*flow, age)).collect();
        self.exports.hear(&settled, &self.maps, &self.naming, &mut self.replicator, self.now);
    }

    /// The other director has this connection from now on.
    fn another_has(&mut self, flow: FlowId) {
        self.another(flow, |_, _| {});
    }

    /// The other director has had this connection, which is over.
    fn another_has_ended(&mut self, flow: FlowId) {
        self.another(flow, |other, now| other.withdraw(flow, now));
    }

    fn another(&mut self, flow: FlowId, then: impl FnOnce(&mut Replicator, Instant)) {
        let (now, [one, two]) = (self.now, ["lb1", "lb2"].map(NodeId::of));
        let mut other = Replicator::new(setup("lb2", "lb1"), 0, now);
        other.configure(self.naming.pairs()).unwrap();
        let (to_other, to_us) = (self.replicator.connected(two).unwrap(), other.connected(one).unwrap());
        let (connection, _) = self.naming.record(server(), Class::Established).unwrap();
        let mut then = Some(then);
        for _ in 0..2 {
            let mut quiet = false;
            while !quiet {
                quiet = true;
                while let Some(body) = self.replicator.transmit(to_other, now) {
                    other.receive(to_us, &body, now).unwrap();
                    quiet = false;
                }
                while let Some(body) = other.transmit(to_us, now) {
                    self.replicator.receive(to_other, &body, now).unwrap();
                    quiet = false;
                }
            }
            if let Some(then) = then.take() {
                assert!(other.replica(flow).is_some(), "it has heard of it");
                other.publish(flow, connection, now).unwrap();
                then(&mut other, now);
            }
        }
    }

    fn hand_over(&mut self, told: &mut Told) {
        let Self { replicator, naming, exports, maps, .. } = self;
        let mut seats = Seats::new(maps.seats.all().len());
        let mut leases = Leases::new(maps.leases.all().len());
        handing::hand_over(replicator, naming, exports, told, &mut seats, &mut leases, maps);
    }

    fn told(&self, flow: FlowId) -> Option<Class> {
        let entry = self.replicator.store().get(flow)?;
        let own = entry.version.origin == self.replicator.origin();
        entry.connection().filter(|_| own).map(|it| it.class)
    }
}

#[test]
fn a_connection_is_told_from_when_it_is_established_until_it_has_gone() {
    let mut director = Director::new("");
    director.store(flow(1), SlotClass::New, 10);
    director.round();
    assert_eq!(director.told(flow(1)), None, "half of a handshake is nobody's business");
    for (tick, class, told) in [
        (11, SlotClass::Established, Class::Established),
        (12, SlotClass::HalfClosed, Class::HalfClosed),
        (13, SlotClass::Closing, Class::Closing),
    ] {
        director.store(flow(1), class, tick);
        director.round();
        assert_eq!(director.told(flow(1)), Some(told));
    }
    director.clear(flow(1));
    director.round();
    assert_eq!(director.told(flow(1)), None);
    assert_eq!(director.replicator.store().tombstones(), 1);
}

#[test]
fn a_flow_that_begins_anew_or_gives_its_place_to_another_has_ended() {
    let mut director = Director::new("");
    director.store(flow(1), SlotClass::Established, 10);
    director.round();
    director.store(flow(1), SlotClass::New, 200);
    director.round();
    assert_eq!(director.told(flow(1)), None, "its client has begun anew");

    director.store(flow(1), SlotClass::Established, 201);
    director.round();
    let place = director.maps.flow_table().locate(flow(1)).unwrap();
    director.clear(flow(1));
    // Of the same bucket.
    let other = FlowId::from_bits(flow(1).bits() ^ 1);
    director.store(other, SlotClass::Established, 202);
    assert_eq!(director.maps.flow_table().locate(other), Some(place));
    director.round();
    assert_eq!((director.told(flow(1)), director.told(other)), (None, Some(Class::Established)));
}

#[test]
fn what_is_told_follows_the_configuration() {
    let mut director = Director::new("replicate = \"none\"");
    director.store(flow(1), SlotClass::Established, 10);
    director.round();
    assert_eq!(director.told(flow(1)), None);
    director.configure("replicate = \"all\"");
    director.round();
    assert_eq!(director.told(flow(1)), Some(Class::Established));
    director.configure("replicate = \"none\"");
    director.round();
    assert_eq!(director.told(flow(1)), None);
    director.configure("replicate_after = \"3s\"");
    for told in [None, None, None, Some(Class::Established)] {
        director.round();
        assert_eq!(director.told(flow(1)), told);
    }
}

#[test]
fn a_connection_is_taken_from_another_director_only_where_packets_come() {
    let mut director = Director::new("");
    director.store(flow(1), SlotClass::Established, 10);
    director.round();
    director.another_has(flow(1));
    director.round();
    assert_eq!(director.told(flow(1)), None, "it has moved there");
    // A restarted agent looks at its table for the first time.
    director.exports = Exports::new(director.maps.flows.all().len());
    director.round();
    assert_eq!(director.told(flow(1)), None, "an entry is no sign of life");
    director.store(flow(1), SlotClass::Established, 1000);
    director.round();
    assert_eq!(director.told(flow(1)), Some(Class::Established), "it has come back");
}

#[test]
fn one_for_which_there_is_no_room_is_told_once_there_is() {
    let mut director = Director::new("");
    for number in 0..101 {
        director.store(flow(number), SlotClass::Established, 10);
    }
    director.round();
    let untold = (0..101).map(flow).find(|flow| director.told(*flow).is_none()).unwrap();
    let gone = (0..101).map(flow).find(|flow| *flow != untold).unwrap();
    director.clear(gone);
    director.round();
    director.round();
    assert_eq!(director.told(untold), Some(Class::Established));
}

#[test]
fn an_entry_that_names_another_server_than_a_later_record_gives_way_to_it() {
    let mut director = Director::new("");
    let mut told = Told::found(&director.maps);
    director.store(flow(1), SlotClass::Established, 10);
    director.round();
    director.another_has(flow(1));
    director.hand_over(&mut told);
    assert_eq!(told.held(), 1);
    assert!(director.maps.flow_table().find(flow(1)).is_some(), "of the same server, it stays");

    // The ends have met again, here at a server that has gone, there at the one that is told of.
    director.clear(flow(1));
    let (table, now) = (director.maps.flow_table(), Now::at_tick(20));
    table.admit(flow(1), ServerId::new(5).unwrap(), false, now, LIMITS, |_, _| false).place().unwrap();
    director.replicator.review();
    director.hand_over(&mut told);
    assert!(director.maps.flow_table().find(flow(1)).is_none());
    assert_eq!(told.held(), 1);
}

#[test]
fn an_entry_is_given_up_when_its_connection_has_ended_elsewhere_unless_packets_have_come_since() {
    let mut director = Director::new("");
    let mut told = Told::found(&director.maps);
    for number in [1, 2] {
        director.store(flow(number), SlotClass::Established, 10);
        director.round();
        director.another_has_ended(flow(number));
        if number == 2 {
            director.store(flow(2), SlotClass::Established, 1000);
        }
        director.hand_over(&mut told);
    }
    let table = director.maps.flow_table();
    assert!(table.find(flow(1)).is_none(), "or the next connection of the same ends would go to its server");
    assert!(table.find(flow(2)).is_some());
    director.round();
    assert_eq!([1, 2].map(|number| director.told(flow(number))), [None, Some(Class::Established)]);
}

#[test]
fn what_is_announced_is_told_before_the_walk_comes_by_and_once() {
    let mut director = Director::new("");
    director.store(flow(1), SlotClass::Established, 10);
    director.hear(&[flow(1)], Duration::ZERO);
    assert_eq!(director.told(flow(1)), Some(Class::Established));
    let told = director.replicator.store().get(flow(1)).unwrap().version;
    director.hear(&[flow(1)], Duration::ZERO);
    director.round();
    assert_eq!(director.replicator.store().get(flow(1)).unwrap().version, told, "nothing has changed");
    director.clear(flow(1));
    director.round();
    assert_eq!(director.told(flow(1)), None, "the walk finds that it has gone");
}

#[test]
fn what_has_gone_since_it_was_announced_or_has_begun_anew_is_not_told() {
    let mut director = Director::new("");
    director.store(flow(1), SlotClass::Established, 10);
    director.clear(flow(1));
    director.store(flow(2), SlotClass::Established, 10);
    director.store(flow(2), SlotClass::New, 200);
    director.hear(&[flow(1), flow(2), flow(3)], Duration::ZERO);
    assert_eq!([1, 2, 3].map(|number| director.told(flow(number))), [None; 3]);
}

#[test]
fn what_is_announced_ripens_like_what_the_walk_finds() {
    let mut director = Director::new("replicate_after = \"2s\"");
    director.store(flow(1), SlotClass::Established, 10);
    director.hear(&[flow(1)], Duration::ZERO);
    assert_eq!(director.told(flow(1)), None);
    director.round();
    assert_eq!(director.told(flow(1)), None, "a second");
    director.round();
    assert_eq!(director.told(flow(1)), Some(Class::Established), "two, since it was announced");
}

//! From the tables of one director to those of another: other numbers, other sizes, the same names.

use std::net::IpAddr;
use std::time::Instant;

use lb_common::identity::{HashKey, KEY_WORDS};
use lb_common::slot::Class as SlotClass;

use super::*;
use crate::agent::desired;
use crate::agent::eligible::Circumstances;
use crate::agent::install::Installation;
use crate::agent::sizes;
use crate::agent::standing::{self, Standings};
use crate::config;
use crate::net::{NextHop, View};

const WRITTEN: u64 = 1_800_000_000;

struct Director {
    installation: Installation,
    naming: Naming,
}

impl Director {
    /// With a service by these servers, and a table of this size.
    fn new(servers: &[u8], size: u32, secret: u64) -> Self {
        let server =
            |last: &u8| format!("[[service.server]]\nname = \"rs{last}\"\naddress = \"198.51.100.{last}\"\n");
        let text = format!(
            "[datapath]\nflow_table_size = {size}\n[[service]]\nname = \"web\"\nvip = \"192.0.2.1\"\nport = 80\nmode = \"nat\"\n\
             replicate = \"none\"\naffinity = {{ by = \"source\", timeout = \"300s\" }}\nhealth = {{ kind = \"none\" }}\n{}",
            servers.iter().map(server).collect::<String>()
        );
        let model = config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let sizes = sizes::of(&model);
        let maps = Maps::own(&sizes).unwrap();
        maps.settings.only().found(&HashKey([lb_common::identity::mix(secret); KEY_WORDS]), sizes.geometry);
        maps.about.only().since.store(WRITTEN - 7);
        let standings = standing::prepared(&model, &Standings::new());
        let wanted = desired::services(&model, &standings, &Circumstances::default());
        let hop = |ip: IpAddr| (ip, NextHop { mac: [2, 0, 0, 0, 0, 1], ifindex: 2, via: ip });
        let hops = wanted[0].servers.iter().map(|it| hop(it.address.into())).collect();
        let now = Instant::now();
        let mut installation = Installation::of(maps, now);
        installation.write_settings(desired::limits(&model.datapath.timeouts), &model.datapath);
        installation.reconcile(&wanted, &View { hops, ..View::default() }, now).unwrap();
        let naming = Naming::of(&model, &wanted, &installation.ledger, &Naming::default()).telling_all();
        Self { installation, naming }
    }

    fn maps(&self) -> &Maps {
        &self.installation.maps
    }

    fn server(&self, name: &str) -> Option<ServerId> {
        let pair = self.naming.pairs().find(|pair| pair.server == name)?;
        self.naming.server(pair.target())
    }

    fn store(&self, ends: Ends, server: &str, class: Class) -> FlowId {
        let flow = self.maps().settings.only().flow_id(&tuple(ends));
        assert!(store(self.maps(), flow, self.server(server).unwrap(), class, Some(ends)));
        flow
    }

    /// Where packets of this flow go, and who they are from as far as that is noted.
    fn finds(&self, flow: FlowId) -> Option<(ServerId, SlotClass, Option<Tuple>)> {
        let table = self.maps().flow_table();
        let place = table.locate(flow)?;
        let slot = table.at(place)?.slot();
        Some((slot.server()?, slot.class(), self.maps().caller(Site::Flow(place), slot)))
    }

    fn write(&self, folder: &Path) -> u64 {
        write(&place(folder), self.maps(), &self.naming, WRITTEN).unwrap()
    }

    fn restore(&self, folder: &Path, after: u64) -> Restored {
        let (snapshot, unfit) = found(folder, self.maps(), true);
        assert_eq!(unfit, None);
        restore(&snapshot.unwrap(), self.maps(), &self.naming, WRITTEN + after).unwrap()
    }
}

fn ends(client_port: u16) -> Ends {
    Ends { client: [203, 0, 113, 7].into(), client_port, vip_port: 80 }
}

fn tuple(ends: Ends) -> Tuple {
    Tuple {
        client: ends.client.into(),
        vip: Addr::v4([192, 0, 2, 1]),
        client_port: Port::from_host(ends.client_port),
        vip_port: Port::from_host(ends.vip_port),
        protocol: Protocol::Tcp,
    }
}

#[test]
fn whoever_comes_next_finds_each_connection_at_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let before = Director::new(&[1, 2, 3], 100_000, 7);
    let live = before.store(ends(1), "rs1", Class::Established);
    let half = before.store(ends(2), "rs2", Class::HalfClosed);
    let closing = before.store(ends(3), "rs2", Class::Closing);
    let gone = before.store(ends(4), "rs3", Class::Established);
    // One of which nobody knows whether it comes about.
    let flow = before.maps().settings.only().flow_id(&tuple(ends(5)));
    let limits = before.maps().settings.only().limits();
    let now = before.maps().clock.only().now();
    let admission =
        before
            .maps()
            .flow_table()
            .admit(flow, before.server("rs1").unwrap(), false, now, limits, |_, _| false);
    assert!(admission.place().is_some());
    assert_eq!(before.write(folder.path()), 4);

    let after = Director::new(&[9, 2, 1], 5_000, 7);
    assert_ne!(after.server("rs1"), before.server("rs1"), "numbers are others");
    let restored = after.restore(folder.path(), 3);
    assert_eq!(restored, Restored { connections: 3, without_server: 1, ..Restored::default() });
    let server = |name| after.server(name).unwrap();
    assert_eq!(after.finds(live), Some((server("rs1"), SlotClass::Established, Some(tuple(ends(1))))));
    assert_eq!(after.finds(half), Some((server("rs2"), SlotClass::HalfClosed, Some(tuple(ends(2))))));
    assert_eq!(after.finds(closing), Some((server("rs2"), SlotClass::Closing, Some(tuple(ends(3))))));
    assert_eq!([after.finds(gone), after.finds(flow)], [None; 2]);
}

#[test]
fn what_was_silent_for_too_long_meanwhile_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let before = Director::new(&[1], 1000, 7);
    before.store(ends(1), "rs1", Class::Established);
    before.store(ends(2), "rs1", Class::Closing);
    before.write(folder.path());
    let restored = |after| Director::new(&[1], 1000, 7).restore(folder.path(), after);
    assert_eq!(restored(0), Restored { connections: 2, ..Restored::default() });
    assert_eq!(restored(600), Restored { connections: 1, over: 1, ..Restored::default() });
    assert_eq!(restored(1_000_000), Restored { over: 2, ..Restored::default() });
}

#[test]
fn clients_come_back_to_their_servers() {
    let folder = tempfile::tempdir().unwrap();
    let before = Director::new(&[1, 2], 1000, 7);
    let group = before.maps().affinities.all().iter().find(|it| it.group.load() != 0).unwrap().group.load();
    let source = IpAddr::from([203, 0, 113, 7]);
    let key = lb_common::entry::Affinity::key(Addr::from(source), group);
    let flow = before.maps().settings.only().flow_id(&key);
    let mut seats = Seats::new(before.maps().seats.all().len());
    assert!(seats.put(before.maps(), flow, before.server("rs2").unwrap(), source));
    assert_eq!(before.write(folder.path()), 1);

    let after = Director::new(&[2, 1], 1000, 7);
    assert_eq!(after.restore(folder.path(), 60), Restored { seats: 1, ..Restored::default() });
    let seated: Vec<_> = seats::all(after.maps(), &after.naming).collect();
    let [(its, slot, _)] = seated[..] else { panic!("{seated:?}") };
    assert_eq!((its, slot.server()), (flow, after.server("rs2")));
}

#[test]
fn another_key_is_refused_and_pins_know_better() {
    let folder = tempfile::tempdir().unwrap();
    let director = Director::new(&[1], 1000, 7);
    director.store(ends(1), "rs1", Class::Established);
    director.write(folder.path());
    let other = Director::new(&[1], 1000, 8);
    let (snapshot, unfit) = found(folder.path(), other.maps(), true);
    assert!(snapshot.is_none());
    let unfit = unfit.unwrap();
    assert!(unfit.contains("another hash key") && unfit.contains(".refused"), "{unfit}");

    director.write(folder.path());
    let (snapshot, unfit) = found(folder.path(), director.maps(), false);
    assert!(snapshot.is_none() && unfit.is_none());
    assert!(!place(folder.path()).exists());
}

#[test]
fn what_finds_no_room_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    // More than the smallest table has places.
    let before = Director::new(&[1], 300_000, 7);
    for client in [1, 2, 3] {
        for port in 1..=60_000 {
            let ends = Ends { client: [203, 0, 113, client].into(), ..ends(port) };
            before.store(ends, "rs1", Class::Established);
        }
    }
    before.write(folder.path());
    let after = Director::new(&[1], 1, 7);
    let Restored { connections, no_room, .. } = after.restore(folder.path(), 0);
    assert!(no_room > 0 && connections > 0, "{connections}, {no_room}");
    assert_eq!(connections + no_room, 180_000);
}

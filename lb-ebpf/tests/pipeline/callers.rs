//! Whose connection stands where: noted beside the flow table, believed only if it hashes to the slot.

use lb_common::entry::Settings;
use lb_common::flow_table::Place;
use lb_common::net::Protocol;
use lb_common::slot::Slot;
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::world::Side;
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::Tcp;

const CLIENTS: u16 = 2000;

/// The client ports of the stored connections whose caller is noted.
fn known(native: &Native) -> Vec<u16> {
    let settings = &native.arrays.settings.all()[0];
    let slots = native.arrays.flows.words().iter().enumerate();
    let mut ports: Vec<u16> = slots
        .filter_map(|(number, word)| {
            let place = Place::of_number(number as u32);
            let slot = Slot::from_word(word.load())?;
            let tuple = native.arrays.addresses.all()[number]
                .tuple(std::net::IpAddr::from(VIP).into(), Protocol::Tcp);
            let flow = settings.geometry().flow_of(slot, place.bucket);
            (settings.flow_id(&tuple) == flow && tuple.client == std::net::IpAddr::from(CLIENT).into())
                .then(|| tuple.client_port.to_host())
        })
        .collect();
    ports.sort_unstable();
    ports
}

fn fill(native: &mut Native) {
    for port in 1..=CLIENTS {
        native.run(Side::Front, &from_client(VIP, Tcp::syn(port, 80, 1))).unwrap();
    }
}

#[test]
fn every_stored_connection_has_its_caller() {
    let mut native = Native::with(&one_server()).unwrap();
    fill(&mut native);
    assert_eq!(known(&native), (1..=CLIENTS).collect::<Vec<_>>());
}

#[test]
fn off_means_that_nothing_is_written() {
    let mut native = Native::with(&one_server()).unwrap();
    let flags = &native.arrays.settings.all()[0].flags;
    flags.store(flags.load() & !Settings::ADDRESSES);
    fill(&mut native);
    assert_eq!(native.stored().count(), usize::from(CLIENTS));
    assert!(native.arrays.addresses.words().iter().all(|word| word.load() == 0));
}

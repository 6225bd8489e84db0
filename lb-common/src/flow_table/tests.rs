use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{identity::mix, slot::MIN_BUCKET_BITS};

struct Heap(Vec<[Word; BUCKET_SLOTS]>);

impl Heap {
    fn new(geometry: Geometry) -> Self {
        Self((0..geometry.buckets()).map(|_| core::array::from_fn(|_| Word::new(0))).collect())
    }
}

impl Memory for Heap {
    type Cell = Word;
    fn bucket(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.0.get(number as usize)
    }
}

const LIMITS: Limits = Limits { new: 30, closing: 60, established: 14 };

fn small() -> Geometry {
    Geometry::new(MIN_BUCKET_BITS).unwrap()
}

fn server(number: u16) -> ServerId {
    ServerId::new(number).unwrap()
}

fn flow(i: u64) -> FlowId {
    FlowId::from_bits(mix(i))
}

#[test]
fn homeless_stay_below_one_in_ten_thousand_at_the_configured_maximum() {
    let geometry = small();
    let heap = Heap::new(geometry);
    let table = FlowTable { memory: &heap, geometry };
    let now = Now::at_tick(100);
    let connections = u64::from(geometry.buckets()) * 8 * 3 / 4;
    let mut homeless = 0;
    for i in 0..connections {
        // Established and not derivable: nobody gives way.
        match table.admit(flow(i), server(1), true, now, LIMITS, |victim, _| !victim.is_settled()) {
            Admission::Stored(_) => assert!(table.find(flow(i)).unwrap().refresh(Class::Established, now)),
            Admission::Homeless => homeless += 1,
            Admission::Evicted(class, _) => panic!("{class:?} gave way"),
        }
    }
    std::println!("{homeless} homeless of {connections}");
    assert!(homeless * 10_000 < connections, "{homeless} of {connections}");
}

#[test]
fn a_flood_evicts_new_entries_and_no_established_one() {
    let geometry = small();
    let heap = Heap::new(geometry);
    let table = FlowTable { memory: &heap, geometry };
    let now = Now::at_tick(100);
    for i in 0..1_000 {
        table.admit(flow(i), server(7), false, now, LIMITS, |_, _| true);
        table.find(flow(i)).unwrap().refresh(Class::Established, now);
    }
    for i in 1_000..1_000_000 {
        table.admit(flow(i), server(1), false, now, LIMITS, |_, _| true);
    }
    for i in 0..1_000 {
        assert_eq!(table.find(flow(i)).unwrap().slot().server(), Some(server(7)));
    }
}

#[test]
fn an_established_entry_gives_way_only_if_it_can_be_derived() {
    let geometry = small();
    let heap = Heap::new(geometry);
    let table = FlowTable { memory: &heap, geometry };
    let now = Now::at_tick(100);
    // Fill both candidate buckets of one flow with established strangers.
    let newcomer = flow(1);
    let (first, tag) = (geometry.first(newcomer), geometry.tag(newcomer));
    for bucket in [first, geometry.other(first, tag)] {
        for (i, cell) in heap.0[bucket as usize].iter().enumerate() {
            cell.store(
                Slot::fresh(server(9), i as u64 + 1, false, false, now)
                    .with_class(Class::Established, now)
                    .word(),
            );
        }
    }
    assert_eq!(table.admit(newcomer, server(1), false, now, LIMITS, |_, _| false), Admission::Homeless);
    let admission = table.admit(newcomer, server(1), false, now, LIMITS, |victim, bucket| {
        assert_eq!(victim.server(), Some(server(9)));
        let whose = geometry.flow_of(victim, bucket);
        assert!([first, geometry.other(first, tag)].contains(&geometry.first(whose)));
        true
    });
    assert_eq!(admission, Admission::Evicted(Class::Established, table.locate(newcomer).unwrap()));
}

#[test]
fn a_refresh_writes_once_a_tick() {
    let geometry = small();
    let heap = Heap::new(geometry);
    let table = FlowTable { memory: &heap, geometry };
    table.admit(flow(1), server(1), false, Now::at_tick(0), LIMITS, |_, _| true);
    table.find(flow(1)).unwrap().refresh(Class::Established, Now::at_tick(0));
    assert!(!table.find(flow(1)).unwrap().refresh(Class::Established, Now::at_tick(63)));
    assert!(table.find(flow(1)).unwrap().refresh(Class::Established, Now::at_tick(64)));
}

proptest! {
    /// The arithmetic says what the plain words say.
    #[test]
    fn who_yields_first_is_what_the_classes_say(
        ticks: u32, passed in 0u32..9000, class in 0usize..5, diverged: bool, id in 1u16.., near_future in 0u32..3,
    ) {
        let class = [Class::New, Class::Answered, Class::Established, Class::HalfClosed, Class::Closing][class];
        let seen = Now::at_tick(ticks);
        let now = Now::at_tick(ticks.wrapping_add(passed).wrapping_sub(near_future));
        let slot = Slot::fresh(server(id), 77, false, diverged, seen).with_class(class, seen);
        let order = Yields::at(now, LIMITS).order(slot.word());
        let settled = matches!(class, Class::Established | Class::HalfClosed);
        let rank = match class {
            _ if slot.expired(now, LIMITS) => Rank::Expired,
            _ if settled && diverged => Rank::Never,
            _ if settled => Rank::Established,
            Class::Closing => Rank::Closing,
            _ => Rank::New,
        };
        prop_assert_eq!(Yields::rank(order), rank as u64);
        if rank == Rank::Established {
            prop_assert_eq!(order >> 8 & 0xff, 255 - u64::from(slot.idle(now)));
        }
    }

    #[test]
    fn the_lowest_place_is_found(places in 1u64..256) {
        prop_assert_eq!(lowest(places), places.trailing_zeros() as usize);
        prop_assert_eq!(count(places), u64::from(places.count_ones()));
    }

    #[test]
    fn a_flow_whose_tag_is_zero_is_stored_and_found(bucket in 0u64..1 << MIN_BUCKET_BITS, others in 0usize..20) {
        let geometry = small();
        let heap = Heap::new(geometry);
        let table = FlowTable { memory: &heap, geometry };
        let odd = FlowId::from_bits(bucket << (crate::identity::FLOW_ID_BITS - MIN_BUCKET_BITS));
        prop_assert_eq!(geometry.tag(odd), 0);
        for i in 0..others {
            let crowd = FlowId::from_bits(odd.bits() + i as u64 + 1);
            table.admit(crowd, server(1), false, Now::at_tick(0), LIMITS, |_, _| true);
        }
        table.admit(odd, server(2), false, Now::at_tick(0), LIMITS, |_, _| true);
        prop_assert_eq!(table.find(odd).map(|e| e.slot().server()), Some(Some(server(2))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Against a map: whatever is inserted is found with its server until evicted, and nothing else ever is.
    #[test]
    fn it_behaves_like_a_map(steps in proptest::collection::vec((0u64..400, 1u16..50), 1..800)) {
        let geometry = small();
        let heap = Heap::new(geometry);
        let table = FlowTable { memory: &heap, geometry };
        let mut model = std::collections::HashMap::new();
        for (i, id) in steps {
            match table.find(flow(i)) {
                Some(entry) => prop_assert_eq!(Some(&entry.slot().server().unwrap()), model.get(&i)),
                None => {
                    prop_assert!(!model.contains_key(&i));
                    let admission =
                        table.admit(flow(i), server(id), false, Now::at_tick(0), LIMITS, |_, _| true);
                    prop_assert_eq!(admission, Admission::Stored(table.locate(flow(i)).unwrap()));
                    model.insert(i, server(id));
                }
            }
        }
    }
}

/// The search compares lower halves first.
#[test]
fn flows_that_differ_in_the_upper_half_of_their_tags_alone_are_kept_apart() {
    let geometry = small();
    let heap = Heap::new(geometry);
    let table = FlowTable { memory: &heap, geometry };
    let now = Now::at_tick(100);
    let alike = [0_u64, 1, 2].map(|upper| FlowId::from_bits(7 << 36 | upper << 33 | 0x1234_5678));
    for (number, flow) in (1..).zip(alike) {
        assert!(table.find(flow).is_none(), "{flow:?}");
        assert!(table.admit(flow, server(number), false, now, LIMITS, |_, _| true).place().is_some());
    }
    for (number, flow) in (1..).zip(alike) {
        assert_eq!(table.find(flow).unwrap().slot().server(), Some(server(number)), "{flow:?}");
    }
    assert!(table.find(FlowId::from_bits(7 << 36 | 3 << 33 | 0x1234_5678)).is_none());
}

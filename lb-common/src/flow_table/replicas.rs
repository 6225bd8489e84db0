//! The table of connections that other directors hold: the same buckets and places as the connection table's.
//!
//! The agent alone writes, a word at a time; the program only reads. Nothing ages here: how long a connection is to be known is
//! up to who told of it.

use super::{Cell, FlowTable, Layout, Memory, takes_near, vacancies};
use crate::{
    clock::Now,
    flow_table::{BUCKET_SLOTS, lowest},
    identity::FlowId,
    slot::{Class, Geometry, ServerId, Slot},
};

/// The table of connections that other directors hold, of this shape.
#[derive(Clone, Copy, Debug)]
pub struct Replicas(pub Geometry);

impl Layout for Replicas {
    #[inline(always)]
    fn bucket<M: Memory>(self, memory: &M, number: u32) -> Option<&[M::Cell; BUCKET_SLOTS]> {
        memory.replicas(number)
    }
    #[inline(always)]
    fn tag(self, flow: FlowId) -> u64 {
        self.0.tag(flow)
    }
    #[inline(always)]
    fn first(self, flow: FlowId) -> u32 {
        self.0.first(flow)
    }
    #[inline(always)]
    fn other(self, bucket: u32, tag: u64) -> u32 {
        self.0.other(bucket, tag)
    }
}

impl<M: Memory> FlowTable<'_, M, Replicas> {
    /// What is held of this flow, as if it had been seen just now.
    #[inline(always)]
    pub fn told(&self, flow: FlowId, now: Now) -> Option<Slot> {
        let (place, cell) = self.search(flow)?;
        let slot = Slot::from_word(cell.load())?;
        // The writer may have given the place to another flow since the comparison.
        let second = place.bucket != self.geometry.first(flow);
        if slot.word() & Slot::identity_mask() != Slot::identity(self.geometry.tag(flow), second) {
            return None;
        }
        Some(slot.with_class(slot.class(), now))
    }

    /// From now on the flow is at this server, whatever was said of it before. False: no room. For a single writer.
    #[must_use]
    pub fn put(&self, flow: FlowId, server: ServerId, class: Class, now: Now) -> bool {
        let tag = self.geometry.tag(flow);
        // Nothing but what was told says where such a connection is: it may not be forgotten for a newcomer.
        let slot = |second| Slot::fresh(server, tag, second, true, now).with_class(class, now).word();
        let first = self.geometry.first(flow);
        if let Some((place, cell)) = self.search(flow) {
            return cell.replace(cell.load(), slot(place.bucket != first));
        }
        let bucket = |number| self.geometry.bucket(self.memory, number);
        let (Some(near), Some(far)) = (bucket(first), bucket(self.geometry.other(first, tag))) else {
            return false;
        };
        let (room_near, room_far) = (vacancies(near), vacancies(far));
        let to_near = takes_near(tag, room_near, room_far);
        let (bucket, room) = if to_near { (near, room_near) } else { (far, room_far) };
        room != 0 && bucket[lowest(room)].replace(0, slot(!to_near))
    }

    /// Forgets the flow; says whether anything was held of it. For a single writer.
    pub fn take(&self, flow: FlowId) -> bool {
        self.search(flow).is_some_and(|(_, cell)| cell.replace(cell.load(), 0))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        slot::{MIN_BUCKET_BITS, TAG_BITS},
        word::Word,
    };

    struct Heap(Vec<[Word; BUCKET_SLOTS]>);

    impl Memory for Heap {
        type Cell = Word;
        fn bucket(&self, _: u32) -> Option<&[Word; BUCKET_SLOTS]> {
            None
        }
        fn replicas(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
            self.0.get(number as usize)
        }
    }

    fn heap() -> (Heap, Replicas) {
        let geometry = Geometry::nearest(MIN_BUCKET_BITS);
        let bucket = |_| core::array::from_fn(|_| Word::new(0));
        (Heap((0..geometry.buckets()).map(bucket).collect()), Replicas(geometry))
    }

    fn classes() -> impl Strategy<Value = Class> {
        prop_oneof![
            Just(Class::New),
            Just(Class::Answered),
            Just(Class::Established),
            Just(Class::HalfClosed),
            Just(Class::Closing)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Of few buckets and tags, also the tag 0, so that flows meet.
        #[test]
        fn the_table_is_a_map_from_flows_to_what_was_last_said(
            steps in prop::collection::vec((0u64..4, 0u64..12, prop::option::of((1u16.., classes()))), 1..300),
            ticks: u32,
        ) {
            let (heap, geometry) = heap();
            let table = FlowTable { memory: &heap, geometry };
            let mut model: HashMap<FlowId, (ServerId, Class)> = HashMap::new();
            for (bucket, tag, said) in steps {
                let flow = FlowId::from_bits(bucket << TAG_BITS | tag);
                match said {
                    Some((server, class)) => {
                        let server = ServerId::new(server).unwrap();
                        if table.put(flow, server, class, Now::at_tick(ticks)) {
                            model.insert(flow, (server, class));
                        } else {
                            prop_assert!(!model.contains_key(&flow), "what is held is always replaced");
                        }
                    }
                    None => prop_assert_eq!(table.take(flow), model.remove(&flow).is_some()),
                }
                for (flow, (server, class)) in &model {
                    let later = Now::at_tick(ticks.wrapping_add(100_000));
                    let slot = table.told(*flow, later).unwrap();
                    prop_assert_eq!((slot.server(), slot.class()), (Some(*server), *class));
                    prop_assert!(slot.diverged());
                    prop_assert_eq!(slot.idle(later), 0, "replicas do not age");
                }
            }
            let taken = heap.0.iter().flatten().filter(|word| word.load() != 0).count();
            prop_assert_eq!(taken, model.len(), "nobody is held twice, and nothing else is there");
        }
    }

    #[test]
    fn without_room_nobody_gives_way() {
        let (heap, geometry) = heap();
        let table = FlowTable { memory: &heap, geometry };
        let now = Now::at_tick(7);
        let all =
            || (0..u64::from(geometry.0.buckets()) * 10).map(|i| FlowId::from_bits(crate::identity::mix(i)));
        let held: Vec<_> =
            all().filter(|flow| table.put(*flow, ServerId::new(1).unwrap(), Class::New, now)).collect();
        assert!(held.len() < all().count());
        assert!(held.iter().all(|flow| table.told(*flow, now).is_some()));
        for flow in &held {
            assert!(table.take(*flow));
        }
        assert!(heap.0.iter().flatten().all(|word| word.load() == 0));
    }
}

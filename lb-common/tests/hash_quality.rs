//! Flow ids of structured tuples, as networks have them, are spread like random ones: over buckets, over the places of a
//! table, over every bit. The keys come from fixed seeds, which a failure names.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::identity::{FLOW_ID_BITS, FlowId, HashKey, mix};
use lb_common::net::{Addr, Port, Protocol, Tuple};
use lb_common::pick::Extent;
use lb_common::slot::{Geometry, MIN_BUCKET_BITS};

const SEEDS: [u64; 4] = [1, 4711, 0xdead_beef, 0x0123_4567_89ab_cdef];
const TUPLES: u64 = 1 << 18;

fn key(seed: u64) -> HashKey {
    let mut state = seed;
    HashKey(std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(state)
    }))
}

fn v4(client: u32, port: u16) -> Tuple {
    let vip = Ipv4Addr::new(203, 0, 113, 80);
    tuple(Ipv4Addr::from(client).into(), vip.into(), port)
}

fn v6(client: u128, vip: u128) -> Tuple {
    tuple(Ipv6Addr::from(client).into(), Ipv6Addr::from(vip).into(), 40_000)
}

fn tuple(client: IpAddr, vip: IpAddr, port: u16) -> Tuple {
    Tuple {
        client: Addr::from(client),
        vip: Addr::from(vip),
        client_port: Port::from_host(port),
        vip_port: Port::from_host(80),
        protocol: Protocol::Tcp,
    }
}

const NET: u128 = 0x2001_0db8 << 96;

/// Families of tuples that differ in little; each gives `TUPLES` different ones.
type Family = (&'static str, fn(u64) -> Tuple);

fn families() -> Vec<Family> {
    vec![
        ("neighbouring clients", |i| v4(0x0a00_0000 + i as u32, 40_000)),
        ("neighbouring ports of four clients", |i| v4(0x0a00_0001 + (i >> 16) as u32, i as u16)),
        ("clients 256 apart", |i| v4(0x0a00_0001_u32.wrapping_add((i as u32) << 8), 40_000)),
        ("clients 65,536 apart, and ports", |i| v4(((i >> 4) as u32) << 16 | 1, 40_000 + (i & 15) as u16)),
        ("client and port that grow together", |i| v4(0x0a00_0000 + i as u32, i as u16)),
        ("client and port whose sum stays", |i| v4(0x0a00_0000 + i as u32, 0_u16.wrapping_sub(i as u16))),
        ("client * 31 + port that stays", |i| {
            v4(0x0a00_0000 + i as u32, 0_u16.wrapping_sub((31 * i) as u16))
        }),
        ("IPv6: neighbours in the lower half", |i| v6(NET + u128::from(i), NET + 1)),
        ("IPv6: neighbours in the upper half", |i| v6(NET + (u128::from(i) << 64) + 1, NET + 1)),
        ("IPv6: both halves alike", |i| v6(u128::from(i) << 64 | u128::from(i), NET + 1)),
        ("IPv6: all words alike", |i| v6(u128::from(i) * 0x0000_0001_0000_0001_0000_0001_0000_0001, NET + 1)),
        ("IPv6: client and VIP alike", |i| v6(NET + u128::from(i), NET + u128::from(i))),
        ("IPv6: words in every order of two", |i| {
            let (a, b) = (u128::from(i & 511), u128::from(i >> 9));
            v6(NET + (a << 32) + b, NET + 1)
        }),
        ("UDP and TCP, two VIP ports", |i| {
            let mut tuple = v4(0x0a00_0000 + (i >> 2) as u32, 40_000);
            tuple.protocol = if i & 1 == 0 { Protocol::Tcp } else { Protocol::Udp };
            tuple.vip_port = Port::from_host(if i & 2 == 0 { 80 } else { 443 });
            tuple
        }),
    ]
}

/// How many standard deviations the chi-square statistic of these counts lies above its mean. Its distribution is normal
/// with so many categories: mean k - 1, variance 2 (k - 1). A spread more even than chance is welcome.
fn excess(counts: &[u32]) -> f64 {
    let total: u32 = counts.iter().sum();
    let mean = f64::from(total) / counts.len() as f64;
    let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
    let degrees = counts.len() as f64 - 1.0;
    (statistic - degrees) / (2.0 * degrees).sqrt()
}

/// Five standard deviations: chance goes beyond them once in three million times.
const LIMIT: f64 = 5.0;

fn spread(what: &str, categories: usize, category: impl Fn(FlowId) -> usize) {
    for (family, member) in families() {
        for seed in SEEDS {
            let key = key(seed);
            let mut counts = vec![0; categories];
            for i in 0..TUPLES {
                counts[category(key.flow_id(&member(i)))] += 1;
            }
            let excess = excess(&counts);
            assert!(excess < LIMIT, "{family}, seed {seed}: {what} are {excess:.1} deviations from even");
        }
    }
}

#[test]
fn buckets_are_filled_evenly() {
    let table = Geometry::nearest(MIN_BUCKET_BITS);
    spread("first buckets", table.buckets() as usize, |flow| table.first(flow) as usize);
}

#[test]
fn second_buckets_are_filled_evenly() {
    let table = Geometry::nearest(MIN_BUCKET_BITS);
    spread("second buckets", table.buckets() as usize, |flow| {
        table.other(table.first(flow), table.tag(flow)) as usize
    });
}

#[test]
fn places_of_a_table_are_picked_evenly() {
    const SIZE: u32 = 16_381;
    let extent = Extent::new(0, SIZE, 0).unwrap();
    for attempt in 0..3 {
        spread("picks", SIZE as usize, |flow| {
            let (word, position) = extent.place(flow, attempt);
            (word * 4 + position) as usize
        });
    }
}

/// Which server a flow picks says nothing about its bucket: else a bucket would hold the flows of one server alone.
#[test]
fn picks_do_not_depend_on_buckets() {
    let table = Geometry::nearest(MIN_BUCKET_BITS);
    let extent = Extent::new(0, 16_381, 0).unwrap();
    spread("pairs of bucket and pick", 128 * 128, |flow| {
        let (word, _) = extent.place(flow, 0);
        (table.first(flow) >> (MIN_BUCKET_BITS - 7)) as usize * 128 + word as usize * 128 / 4096
    });
}

#[test]
fn no_two_tuples_share_a_flow_id() {
    for seed in SEEDS {
        let key = key(seed);
        for (family, member) in families() {
            let ids: HashSet<FlowId> = (0..TUPLES).map(|i| key.flow_id(&member(i))).collect();
            // By chance, one of 30,000 such families would have a pair.
            assert_eq!(ids.len() as u64, TUPLES, "{family}, seed {seed}");
        }
    }
}

/// Each bit of a tuple changes each bit of the flow id for about half of all keys.
#[test]
fn one_bit_of_difference_changes_half_of_the_bits() {
    const KEYS: u64 = 2000;
    let bits = 32 + 16;
    for bit in 0..bits {
        let mut changed = [0_u32; FLOW_ID_BITS as usize];
        for seed in 0..KEYS {
            let key = key(mix(seed));
            let (client, port) = (0xc633_6407_u32, 51_234_u16);
            let other =
                if bit < 32 { v4(client ^ 1 << bit, port) } else { v4(client, port ^ 1 << (bit - 32)) };
            let difference = key.flow_id(&v4(client, port)).bits() ^ key.flow_id(&other).bits();
            for (i, count) in changed.iter_mut().enumerate() {
                *count += (difference >> i & 1) as u32;
            }
        }
        for (i, count) in changed.into_iter().enumerate() {
            let share = f64::from(count) / KEYS as f64;
            // Standard deviation 0.011.
            assert!((0.44..0.56).contains(&share), "bit {bit} changes bit {i} for {share} of the keys");
        }
    }
}

/// The halves of an IPv6 address are not folded onto each other: no key makes these collide.
#[test]
fn halves_of_an_ipv6_address_are_not_exchangeable() {
    for seed in SEEDS {
        let key = key(seed);
        for i in 1..10_000_u128 {
            let (a, b) = (NET >> 64 | i, i * 0x1_0000_0001);
            let there = key.flow_id(&v6(a << 64 | b, NET + 1));
            let back = key.flow_id(&v6(b << 64 | a, NET + 1));
            assert!(a == b || there != back, "seed {seed}: {a:x} and {b:x}");
            let neither = key.flow_id(&v6((a ^ b) << 64, NET + 1));
            assert!(there != neither && back != neither, "seed {seed}: {a:x} and {b:x} are folded");
        }
    }
}

/// One flow id in all tables, whatever their size.
#[test]
fn the_flow_id_does_not_depend_on_the_table() {
    let key = key(1);
    for i in 0..1000 {
        let flow = key.flow_id(&v4(i, 40_000));
        assert!(flow.bits() < 1 << FLOW_ID_BITS);
        for bits in MIN_BUCKET_BITS..=lb_common::slot::MAX_BUCKET_BITS {
            let table = Geometry::new(bits).unwrap();
            let back = u64::from(table.first(flow)) << (FLOW_ID_BITS - bits) | table.tag(flow);
            assert_eq!(FlowId::from_bits(back), flow);
        }
    }
}

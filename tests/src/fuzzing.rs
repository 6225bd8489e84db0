//! Any bytes as a story in a busy world: frames, ticks, servers that fail and come back, what other directors say.
//!
//! The fuzzer feeds it what it likes (`cargo xtask fuzz`), the native tests what the fuzzer found worth keeping. What must
//! hold: nothing panics, no byte beyond the frame is touched (a frame's memory is exactly as long as the frame; the
//! fuzzer runs under the address sanitizer), each frame has one verdict, what is passed or dropped is as it came in, and
//! checksums that were right are right when the frame leaves.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::entry::{Scheduler, Then};
use lb_common::verdict::Action;
use lb_common::wire::{Tag, Tags};

use crate::datapath::script::{Act, busy_world_of_both_families, crowd, told_of};
use crate::datapath::world::{Limits, Lost, Replica, Side, World};
use crate::datapath::{Engine as _, Native};
use crate::oracle::soundness::is_sound;

/// What a step does, in the upper bits of its first byte.
const TICKS: u8 = 0x40;
const STATE: u8 = 0x80;
const TOLD: u8 = 0x20;
/// What was told has ended.
const ENDED: u8 = 0x10;
/// A frame whose length has a second byte.
const LONG: u8 = 0x02;

/// Of the director's, in the world that has any.
const VLAN: Tags = Tags::of(Tag::on_wire(10, false), Tag::NONE);
/// One of the busy worlds' clients.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2));
const CLIENT_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 2));

thread_local! {
    /// Made once: a run must cost microseconds.
    static WORLDS: RefCell<Vec<Native>> = RefCell::new(worlds());
    /// What other directors may say.
    static SAYINGS: Vec<Replica> = told_of(1, &busy_world_of_both_families(), 256);
}

/// Runs one input.
///
/// # Panics
/// If the data path does what it must not.
pub fn run(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    WORLDS.with_borrow_mut(|worlds| {
        let chosen = usize::from(*first) % worlds.len();
        let native = &mut worlds[chosen];
        while let Some((step, after)) = step(rest) {
            rest = after;
            match step {
                Step::Frame(side, frame) => try_frame(native, side, frame),
                Step::Pass(ticks) => native.pass(ticks).expect("time passes"),
                Step::State(server, flags) => native.disturb(server, flags),
                Step::Told(number, ended) => {
                    SAYINGS.with(|sayings| native.tell(&sayings[usize::from(number)], ended));
                }
            }
        }
        native.forget();
        native.forget_counts();
    });
}

/// The bytes that [`run`] reads as this story; changes of the world are left out.
#[must_use]
pub fn input_of(world: u8, acts: &[Act]) -> Vec<u8> {
    let mut bytes = vec![world];
    for act in acts {
        match act {
            Act::Frame(side, frame) => {
                let frame = in_vlan(frame, world);
                let long = if frame.len() > 0xff { LONG } else { 0 };
                bytes.extend([*side as u8 | long, frame.len() as u8]);
                if long != 0 {
                    bytes.push((frame.len() >> 8) as u8);
                }
                bytes.extend(frame);
            }
            Act::Pass(ticks) => bytes.push(TICKS | (*ticks).min(0x3f) as u8),
            Act::Change(_) => {}
        }
    }
    bytes
}

/// Every fourth story is one of frames in the VLAN.
fn in_vlan(frame: &[u8], world: u8) -> Vec<u8> {
    let Some((macs, rest)) = frame.split_at_checked(12).filter(|_| world.is_multiple_of(4)) else {
        return frame.to_vec();
    };
    [macs, &[0x81, 0, 0, VLAN.outer().id() as u8], rest].concat()
}

enum Step<'a> {
    Frame(Side, &'a [u8]),
    Pass(u32),
    /// These flags of a server's state are turned over.
    State(u8, u8),
    /// This is said of a connection, or that it has ended.
    Told(u8, bool),
}

/// The first step of an input, and what follows it.
fn step(input: &[u8]) -> Option<(Step<'_>, &[u8])> {
    let (first, rest) = input.split_first()?;
    if first & STATE != 0 {
        let (flags, rest) = rest.split_first()?;
        return Some((Step::State(first & !STATE, *flags), rest));
    }
    if first & TICKS != 0 {
        return Some((Step::Pass(u32::from(first & !TICKS)), rest));
    }
    if first & TOLD != 0 {
        let (number, rest) = rest.split_first()?;
        return Some((Step::Told(*number, first & ENDED != 0), rest));
    }
    let side = if first & 1 == 0 { Side::Front } else { Side::Back };
    let (length, rest) = rest.split_first()?;
    let (more, rest) = if first & LONG == 0 {
        (0, rest)
    } else {
        rest.split_first().map(|(more, rest)| (more & 7, rest))?
    };
    let length = usize::from(*length) | usize::from(more) << 8;
    let (frame, rest) = rest.split_at(length.min(rest.len()));
    Some((Step::Frame(side, frame), rest))
}

fn try_frame(native: &mut Native, side: Side, frame: &[u8]) {
    let (verdict, _, output) = native.push(side, frame);
    if verdict.action() != Action::Send {
        assert!(output == frame, "{} changed the frame {frame:02x?} into {output:02x?}", verdict.name());
        return;
    }
    let [bare, bare_output] = [frame, &output].map(untagged);
    let (before, after) = (bare.len(), bare_output.len());
    let fits = match verdict.name() {
        "replied_reset" => after <= before,
        // A part of the packet, and two headers around it.
        "replied_too_big" | "replied_time_exceeded" | "replied_unreachable" => after <= before + 48,
        "forwarded_tunnel" => is_wrapped(before, after),
        "forwarded_icmp" => after == before || is_wrapped(before, after),
        _ => after == before,
    };
    assert!(fits, "{}: {} bytes became {}", verdict.name(), frame.len(), output.len());
    let sound = is_sound(&bare_output) || !is_sound(&bare);
    assert!(sound, "{}: a checksum of {output:02x?}, made of {frame:02x?}, is wrong", verdict.name());
}

/// The frame without its VLAN tags, of which there may be two.
fn untagged(frame: &[u8]) -> Vec<u8> {
    let is_tag = |tag: &&[u8]| matches!(tag, [0x81, 0, ..] | [0x88, 0xa8, ..]);
    let (macs, rest) = frame.split_at(frame.len().min(12));
    let tags = rest.chunks(4).take(2).take_while(is_tag).count();
    [macs, &rest[(4 * tags).min(rest.len())..]].concat()
}

/// IP in IP or GUE, over either family.
fn is_wrapped(before: usize, after: usize) -> bool {
    [20, 28, 40, 48].contains(&after.wrapping_sub(before))
}

/// The worlds an input may choose from.
fn worlds() -> Vec<Native> {
    let busy = busy_world_of_both_families;
    let empty = |world: World| {
        world.with(|world| {
            for (_, server) in &mut world.servers {
                (server.weight, server.miss_weight) = (0, Some(0));
            }
        })
    };
    let lagging = |world: World| {
        world.with(|world| {
            for (number, (_, server)) in world.servers.iter_mut().enumerate() {
                server.miss_weight = Some(number as u32 % 3);
            }
        })
    };
    // A third of the services each keeps, resets and lets go what a dead server had.
    let losing = |world: World| {
        world.with(|world| {
            for (number, service) in world.services.iter_mut().enumerate() {
                service.lost = [Lost::Kept, Lost::Reset, Lost::Rehashed][number % 3];
            }
            world.servers.iter_mut().step_by(4).for_each(|(_, server)| server.down = true);
        })
    };
    // Where not everybody comes in, not everything fits, and clients come back.
    let strict = |world: World| {
        world.with_vlans(Side::Front, &[VLAN]).with_vlans(Side::Back, &[VLAN]).with(|world| {
            for (number, service) in world.services.iter_mut().enumerate() {
                let limits =
                    Limits { connections: 6, source_connections: 4, source_packets: 6, prefixes: [24, 64] };
                service.limits = if number % 2 == 0 { limits } else { Limits::default() };
                let (client, length) = if service.vip.is_ipv4() { (CLIENT, 32) } else { (CLIENT_6, 128) };
                if number % 3 == 0 {
                    service.rules = vec![(client, length, number % 2 == 0)];
                }
                service.scheduler = [Scheduler::Rotation, Scheduler::Random, Scheduler::Least][number % 3];
                let on_down = [Then::Keep, Then::Reset, Then::Rehash][number / 2 % 3];
                if number % 4 == 1 && service.quic.is_none() {
                    *service =
                        service.clone().affine(if number % 8 == 1 { "some" } else { "others" }, on_down);
                }
            }
            for (number, (_, server)) in world.servers.iter_mut().enumerate() {
                server.most = number as u32 % 4;
                server.tags = if number % 5 == 0 { VLAN } else { server.tags };
            }
        })
    };
    let all = [
        busy(),
        lagging(busy()).with(|world| world.derive_udp = true),
        lagging(busy()).with(|world| (world.flows, world.agent_lives) = (false, false)),
        empty(busy()).with(|world| world.serving = false),
        strict(busy()),
    ];
    let mut worlds: Vec<Native> =
        all.iter().map(|world| Native::with(world).expect("memory for a world")).collect();
    // Where each newcomer must find somebody to give way.
    let mut crowded = Native::with(&lagging(busy())).expect("memory for a world");
    crowd(1, busy().servers.len() as u64, crowded.arrays.flows.words());
    crowded.rest();
    worlds.push(crowded);
    // Where most of what comes is another director's.
    let told = losing(lagging(busy())).with(|world| world.replicas = told_of(2, world, 1000));
    let mut told = Native::with(&told).expect("memory for a world");
    told.rest();
    worlds.push(told);
    worlds
}

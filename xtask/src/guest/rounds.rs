//! What the guest runs when it is not told: an emulated processor verifies each program of each agent, so all of the namespace
//! tests take hours there. These show what differs between kernels; the rest is asked for by `--all`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::step;

/// Tests of the suite `netns` whose names have the first in them, and what of that kernel they show.
const ROUNDS: [(&str, &str); 22] = [
    ("smoke::", "NAT and direct routing, TCP and UDP, with nginx and curl"),
    ("smoke6::tcp_by_nat_through_two", "the same over IPv6"),
    ("smoke6::tcp_by_direct_routing_through_two", "the same over IPv6"),
    ("full_nat::tcp_through_two", "ports of the director's own"),
    ("to_the_kernels_of_the_servers", "the kernel's own ipip, sit, ip6tnl and fou unwrap what we wrap"),
    ("tunnel::udp", "tunnels, unwrapped by the rig"),
    ("interfaces::tcp", "802.1Q, and tags within tags"),
    ("interfaces::udp", "802.1Q"),
    ("interfaces::a_vlan", "a VLAN that is not ours is the kernel's"),
    ("interfaces::bonds", "attached to a bond that loses its members"),
    ("interfaces::a_member", "a member of a bond is refused by name"),
    ("interfaces::jumbo_frames_through_one", "frames in several buffers"),
    ("interfaces::when_down", "detaching"),
    ("icmp::a_narrow_link", "path MTU, by answers that carry a quote"),
    ("fragments::large_datagrams_by_nat", "fragments of both families"),
    ("capturing::explained_and_seen_by_nat", "the copies that explain and capture"),
    ("admission::by_nat", "longest-prefix maps"),
    ("reloads::reloads_in_a_row", "tables exchanged under load"),
    ("survival::an_agent_killed", "pins: an agent is killed, another takes over"),
    ("survival::ten_swaps", "links: the program is exchanged under load"),
    ("vips::", "addresses by netlink"),
    ("pair::connections_survive_their_director_by_nat", "failover between two directors"),
];

/// Tests that say nothing about this kernel on a processor that is emulated, or ask of it what it cannot do; not even with `--all`.
const SENSELESS: [(&str, &str); 4] = [
    ("interfaces::jumbo_frames_through_two", "Linux 6.1 redirects no frame of several buffers"),
    ("flood::", "a flood is as fast as the machine"),
    ("load::wrk", "so is wrk"),
    ("fragments::a_flood", "a flood is as fast as the machine"),
];

/// Of the suite `kernel`, what a packet costs says nothing there.
pub(super) const OF_KERNEL: [&str; 2] = ["--skip", "price::"];

/// The words after the program's name. Ignored tests are those that need what this kernel has.
pub(super) fn arguments(all: bool) -> Vec<String> {
    let mut words = vec!["--include-ignored"];
    if all {
        let skipped = SENSELESS.iter().flat_map(|(name, _)| ["--skip", *name]);
        words.extend(skipped);
    } else {
        words.extend(ROUNDS.map(|(name, _)| name));
    }
    words.into_iter().map(str::to_owned).collect()
}

/// Says what is run and what is not, and why.
///
/// # Errors
/// A line of the tables names no test of `program`: it has another name now, and would be left out in silence.
pub(super) fn tell(program: &Path, all: bool) -> Result<()> {
    let listed = step::output(Command::new(program).args(["--list", "--format=terse"]))
        .context("listing the namespace tests")?;
    let tests: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    if let Some(name) = nameless(&tests) {
        bail!("no namespace test is called {name}, which the guest's rounds name");
    }
    if !all {
        ROUNDS.iter().for_each(|(name, why)| step::note("round", &format!("{name}: {why}")));
        let chosen = |test: &&&str| ROUNDS.iter().any(|(name, _)| test.contains(name));
        let count = tests.iter().filter(chosen).count();
        step::note("rounds", &format!("{count} of {} namespace tests; the others by --all", tests.len()));
    }
    SENSELESS.iter().for_each(|(name, why)| step::note("left out", &format!("{name}: {why}")));
    Ok(())
}

/// The first entry that no test answers to.
fn nameless(tests: &[&str]) -> Option<&'static str> {
    let mut names = ROUNDS.iter().chain(&SENSELESS).map(|(name, _)| *name);
    names.find(|name| !tests.iter().any(|test| test.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_without_a_test_is_found() {
        let mut tests: Vec<&str> = ROUNDS.iter().chain(&SENSELESS).map(|(name, _)| *name).collect();
        assert_eq!(nameless(&tests), None);
        tests.retain(|test| *test != "interfaces::bonds");
        assert_eq!(nameless(&tests), Some("interfaces::bonds"));
    }

    #[test]
    fn nothing_chosen_is_senseless() {
        let both = ROUNDS.iter().find(|(round, _)| SENSELESS.iter().any(|(name, _)| round.contains(name)));
        assert_eq!(both, None);
    }
}

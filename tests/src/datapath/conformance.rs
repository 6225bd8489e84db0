//! What the cases cover, as a document: `docs/conformance.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::cases::{Case, Step};
use super::world::{Mode, World};

/// The columns: a frame's family and the mode of the services around it.
const KINDS: [&str; 9] = [
    "IPv4 NAT",
    "IPv4 DR",
    "IPv4 tunnel",
    "IPv4 full NAT",
    "IPv6 NAT",
    "IPv6 DR",
    "IPv6 tunnel",
    "IPv6 full NAT",
    "neither",
];

/// The document.
#[must_use]
pub fn document(cases: &[Case]) -> String {
    let mut frames: BTreeMap<&str, [usize; KINDS.len()]> = BTreeMap::new();
    let mut sentences: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for case in cases {
        let mut world = &case.world;
        for step in &case.steps {
            match step {
                Step::Pass(_) => {}
                Step::Change(changed) => world = changed,
                Step::Frame(_, fixture) => {
                    frames.entry(&fixture.verdict).or_default()[kind(&fixture.input, world)] += 1;
                    sentences.entry(&fixture.verdict).or_default().insert(case.name);
                }
            }
        }
    }
    let total: usize = cases.iter().map(Case::frames).sum();
    let mut text = format!(
        "# Conformance\n\n\
         {} situations, {total} frames. Each frame goes through the pipeline as a library (`cargo test -p lb-ebpf`) and through the\n\
         loaded program (`cargo xtask test --only kernel`, BPF_PROG_TEST_RUN); verdict, action, every byte of the output and the\n\
         counters named by the case must be as expected. This file is written from the cases: `XLVS_BLESS=1 cargo test -p lb-ebpf\n\
         --test pipeline conformance`.\n\n\
         ## Frames by verdict, family and mode\n\n| verdict | {} |\n|---|{}\n",
        cases.len(),
        KINDS.join(" | "),
        "---:|".repeat(KINDS.len()),
    );
    for (verdict, counts) in &frames {
        let counts: Vec<String> =
            counts.iter().map(|n| if *n == 0 { String::new() } else { n.to_string() }).collect();
        let _ = writeln!(text, "| `{verdict}` | {} |", counts.join(" | "));
    }
    text += "\n## Situations by verdict\n";
    for (verdict, names) in sentences {
        let _ = write!(text, "\n### {verdict}\n\n");
        for name in names {
            let _ = writeln!(text, "- {name}");
        }
    }
    text
}

/// The number of the frame's column.
fn kind(frame: &[u8], world: &World) -> usize {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8])) {
        at += 4;
    }
    let family = match frame.get(at..at + 2) {
        Some([0x08, 0x00]) => 0,
        Some([0x86, 0xdd]) => 4,
        _ => return KINDS.len() - 1,
    };
    // The service it is about, if its VIP is in the frame; the first one otherwise.
    let named = world.services.iter().find(|service| contains(frame, service.vip));
    match named.or(world.services.first()).map(|service| service.mode) {
        Some(Mode::Dr) => family + 1,
        Some(Mode::Tunnel(_)) => family + 2,
        Some(Mode::FullNat) => family + 3,
        _ => family,
    }
}

fn contains(frame: &[u8], address: std::net::IpAddr) -> bool {
    let bytes = match address {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    frame.windows(bytes.len()).any(|window| window == bytes)
}

//! Directors, links and misfortune, all from one seed: thousands of runs that no network would offer.
//!
//! `XLVS_SEEDS=10000` asks for more runs, `XLVS_SEED=n` for one again.

mod invariants;
mod network;
mod orders;
mod tables;
mod world;

use world::{Faults, World};

const ORDINARY: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one seed and says what broke.
fn run(seed: u64, faults: Faults) -> Result<(), String> {
    let told = std::panic::catch_unwind(|| World::new(seed, faults).story());
    told.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

#[test]
fn replicas_equal_exports_whatever_happens() {
    let seeds = match number("XLVS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("XLVS_SEEDS").unwrap_or(ORDINARY),
    };
    let count = seeds.end - seeds.start;
    let failed: Vec<(u64, String)> =
        seeds.filter_map(|seed| run(seed, Faults::default()).err().map(|what| (seed, what))).collect();
    let list: String =
        failed.iter().map(|(seed, what)| format!("\nXLVS_SEED={seed} repeats: {what}")).collect();
    assert!(failed.is_empty(), "{} of {count} seeds failed{list}", failed.len());
}

/// The invariants can fail: with each of these faults in the directors, some seed breaks one.
#[test]
fn faults_put_in_on_purpose_are_found() {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = |faults| (0..100).any(|seed| run(seed, faults).is_err());
    let results = [
        ("changes are lost", found(Faults { lose_changes: true, ..Faults::default() })),
        ("tombstones are forgotten", found(Faults { forget_tombstones: true, ..Faults::default() })),
        ("the counter begins anew", found(Faults { forget_mark: true, ..Faults::default() })),
        ("a director commits early", found(Faults { commit_early: true, ..Faults::default() })),
        ("orders are not kept", found(Faults { forget_orders: true, ..Faults::default() })),
    ];
    std::panic::set_hook(silent);
    for (fault, found) in results {
        assert!(found, "{fault}: no seed has noticed");
    }
}

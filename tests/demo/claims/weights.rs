//! 1,000 connections against the weights, and the driver mode all of this is about.

use std::collections::BTreeMap;

use anyhow::Result;
use xlvs_tests::chi_square;
use xlvs_tests::topology::VIP;

use crate::load;
use crate::scene::Scene;
use crate::telling::Claim;

const CONNECTIONS: usize = 1000;
/// A sound balancer fails this once in a thousand runs.
const LEAST_P: f64 = 0.001;

pub fn show(scene: &mut Scene, claim: &mut Claim) -> Result<()> {
    let status = scene.installation().status()?;
    let interfaces = status["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let modes: Vec<String> = interfaces
        .iter()
        .map(|interface| format!("{} {}", interface["name"].as_str().unwrap_or("?"), interface["mode"]))
        .map(|text| text.replace('"', ""))
        .collect();
    let native = interfaces.len() == 2 && interfaces.iter().all(|interface| interface["mode"] == "native");
    claim.check(native, format!("attached in driver mode: {}", modes.join(", ")));
    claim.by_hand(&scene.xlvs("status"));

    let before = scene.connections_by_server()?;
    let got = load::spread(&scene.client, CONNECTIONS)?;
    let after = scene.connections_by_server()?;
    spread(scene, claim, &got);
    let counted: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let same = counted.iter().zip(counts(scene, &got)).all(|(counted, got)| *counted == got as u64);
    let list = counted.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    claim.check(same, format!("xlvs counted the same connections: {list}"));
    claim.by_hand(&scene.xlvs("servers"));
    claim.by_hand(&scene.curl(&format!("http://{VIP}/")));
    Ok(())
}

/// The table and its verdict.
pub fn spread(scene: &Scene, claim: &mut Claim, got: &BTreeMap<String, usize>) {
    let (weights, counts) = (scene.weights(), counts(scene, got));
    let total: usize = counts.iter().sum();
    claim.note("server  weight  expected    got");
    let rows =
        scene.names().into_iter().zip(&weights).zip(chi_square::expected(&weights, total)).zip(&counts);
    for (((name, weight), expected), count) in rows {
        claim.note(format_args!("{name:<6}  {weight:>6}  {expected:>8.1}  {count:>5}"));
    }
    let chi_square::ChiSquare { statistic, degrees, p } = chi_square::test(&counts, &weights);
    let text = format!(
        "{total} connections, none failed: chi-square {statistic:.2} ({degrees} degrees of freedom), p = {p:.3}"
    );
    claim.check(p > LEAST_P, text);
}

fn counts(scene: &Scene, got: &BTreeMap<String, usize>) -> Vec<usize> {
    scene.names().iter().map(|name| got.get(name).copied().unwrap_or(0)).collect()
}

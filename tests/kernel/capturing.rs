//! The copy of the program that captures does what the one that serves does, and tells of exactly the frames it was asked
//! for: as they came and as they left.

use anyhow::{Context as _, Result, ensure};
use lb_common::capture::Captured;
use lb_common::net::{Addr, Port};
use lb_common::purpose::Purpose;
use lb_common::trail::Trail;
use lb_common::verdict::{Action, Verdict};
use xlvs_tests::datapath::Engine as _;
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::script::{Act, busy_world_of_both_families, random_of_both_families};
use xlvs_tests::datapath::world::Side;
use xlvs_tests::packet;
use xlvs_tests::random::fresh_seed;

const FRAMES: usize = 2_000;

/// A frame that went in, and what the kernel gave back.
struct Passed {
    before: Vec<u8>,
    action: u32,
    after: Vec<u8>,
}

fn frames(seed: u64) -> Vec<(Side, Vec<u8>)> {
    let frame = |act| if let Act::Frame(side, frame) = act { Some((side, frame)) } else { None };
    random_of_both_families(seed, FRAMES * 2).into_iter().filter_map(frame).take(FRAMES).collect()
}

/// What the kernel does with the frames, and what it tells of them, under this filter.
fn run(
    seed: u64,
    purpose: Purpose,
    set: impl Fn(&lb_common::capture::Filter),
) -> Result<(Vec<Passed>, Vec<Vec<u8>>)> {
    let mut program = Program::load_to(purpose)?;
    program.install(&busy_world_of_both_families())?;
    let filter = program.filter()?;
    let filter = &filter.all()[0];
    filter.until.store(u64::MAX);
    filter.verdicts.store(u64::MAX);
    filter.client.set(None);
    filter.vip.set(None);
    set(filter);
    let (mut passed, mut told) = (Vec::new(), Vec::new());
    for (side, frame) in frames(seed) {
        let (action, after) = program.push(side, &frame)?;
        passed.push(Passed { before: frame, action, after });
        told.extend(program.captured()?);
    }
    ensure!(filter.lost.load() == 0, "frames were lost");
    Ok((passed, told))
}

#[test]
fn all_frames_are_told_as_they_came_and_as_they_left() -> Result<()> {
    let seed = fresh_seed();
    println!("XLVS_SEED={seed}");
    let (served, nothing) = run(seed, Purpose::Serve, |_| ())?;
    ensure!(nothing.is_empty(), "what serves has told something");
    let (passed, told) = run(seed, Purpose::Capture, |_| ())?;
    ensure!(told.len() == FRAMES, "{} of {FRAMES} frames are told", told.len());
    for ((served, passed), told) in served.iter().zip(&passed).zip(&told) {
        ensure!(
            (served.action, &served.after) == (passed.action, &passed.after),
            "capturing has changed something"
        );
        let told = Captured::read(told).context("no record")?;
        let verdict = Trail::of(told.head.trail).verdict().context("no verdict")?;
        ensure!(told.before == passed.before, "told otherwise than it came");
        ensure!(
            told.after
                == (verdict.action() == Action::Send && passed.action >= 3).then_some(&passed.after[..])
        );
        ensure!(told.head.length == passed.before.len() as u64);
    }
    Ok(())
}

#[test]
fn only_what_is_asked_for_is_told() -> Result<()> {
    let seed = fresh_seed();
    println!("XLVS_SEED={seed}");
    let client: std::net::IpAddr = "10.77.1.2".parse()?;
    let (passed, told) = run(seed, Purpose::Capture, |filter| {
        filter.client.set(Some((Addr::from(client), Some(Port::from_host(40_003)))));
    })?;
    // By an independent reading of both frames; what is damaged or tagged may be read in more than one way.
    let has_end = |bytes: &[u8]| has_end(bytes, &client.to_string(), "40003");
    let wanted = passed.iter().filter(|frame| is_plain(&frame.before));
    let wanted = wanted.filter(|frame| has_end(&frame.before) || frame.action >= 3 && has_end(&frame.after));
    let wanted: Vec<&[u8]> = wanted.map(|frame| &frame.before[..]).collect();
    let told: Vec<&[u8]> = told.iter().filter_map(|told| Some(Captured::read(told)?.before)).collect();
    let told: Vec<&[u8]> = told.into_iter().filter(|before| is_plain(before)).collect();
    ensure!(!wanted.is_empty(), "the client has sent nothing");
    ensure!(told == wanted, "{} frames are told instead of {}", told.len(), wanted.len());

    let verdict = Verdict::PassedNoService;
    let (_, told) = run(seed, Purpose::Capture, |filter| filter.verdicts.store(1 << verdict as u8))?;
    ensure!(!told.is_empty(), "no frame with the verdict");
    for told in &told {
        let told = Captured::read(told).context("no record")?;
        ensure!(Trail::of(told.head.trail).verdict() == Some(verdict), "another verdict");
    }
    Ok(())
}

/// Whole, sound, without tags and fragmentation.
fn is_plain(frame: &[u8]) -> bool {
    let odd = |field: &packet::Field| {
        field.fault.is_some() || field.name.contains("fragment") && !field.value.contains("offset 0, last")
    };
    let tagged = [[0x81, 0], [0x88, 0xa8]].contains(&[frame[12], frame[13]]);
    !tagged && !packet::decode(frame).iter().any(odd)
}

/// Whether the outer packet comes from or goes to this address and port.
fn has_end(frame: &[u8], address: &str, port: &str) -> bool {
    let fields = packet::decode(frame);
    let first =
        |end: &str| fields.iter().find(|field| field.name.ends_with(end)).map(|field| field.value.clone());
    // Quoted packets come behind ICMP.
    let icmp = fields.iter().any(|field| field.name.starts_with("icmp"));
    let is = |end: &str| {
        let at = fields.iter().find(|field| field.name.starts_with("ipv") && field.name.ends_with(end));
        at.is_some_and(|field| field.value == address)
            && first(&format!("{end}_port")).as_deref() == Some(port)
    };
    !icmp && (is("source") || is("destination"))
}

#[test]
fn a_capture_whose_time_is_over_only_serves() -> Result<()> {
    let seed = fresh_seed();
    let (passed, told) = run(seed, Purpose::Capture, |filter| filter.until.store(1))?;
    ensure!(told.is_empty(), "{} frames are told", told.len());
    let (served, _) = run(seed, Purpose::Serve, |_| ())?;
    let differs = |(served, passed): &(&Passed, &Passed)| {
        (served.action, &served.after) != (passed.action, &passed.after)
    };
    ensure!(!served.iter().zip(&passed).any(|pair| differs(&pair)), "something is forwarded otherwise");
    Ok(())
}

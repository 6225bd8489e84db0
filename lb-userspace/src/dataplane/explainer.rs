//! The second loading of the object, which answers what the first would do and leaves nothing behind.
//!
//! It stands over the same pinned maps, with the constant of [`Purpose::Explain`], which takes every write to them
//! out of the program (`lb-ebpf`, `purpose`). It is attached nowhere: frames reach it by `BPF_PROG_TEST_RUN` alone.

use anyhow::{Context, Result, anyhow, ensure};
use aya::Ebpf;
use aya::programs::{TestRun as _, TestRunOptions};
use lb_common::purpose::Purpose;
use lb_common::slot::ServerId;
use lb_common::stage::{ENTRY, Stage};
use lb_common::trail::Trail;
use lb_common::verdict::{Action, Event, Verdict};

use super::attach::{Unverified, xdp};
use super::{MapSizes, Mapped, Object, Pins, maps};

/// Frames that can be explained, bytes: from an Ethernet header to what a driver hands over in one piece (a page less
/// head room and tail).
pub const FRAME_LENGTHS: std::ops::RangeInclusive<usize> = 14..=3_400;

/// Room for what the data path may put in front.
const GROWTH: usize = 256;

/// The explaining copy of the program.
#[derive(Debug)]
pub struct Explainer {
    ebpf: Ebpf,
    trail: Mapped<Trail>,
}

/// What the data path would do with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    pub verdict: Verdict,
    /// The stage that comes to it; `None`: the entry.
    pub stage: Option<Stage>,
    /// What else would be counted.
    pub events: Vec<Event>,
    pub server: Option<ServerId>,
    /// The number of the service that was asked, if one was.
    pub service: Option<u32>,
    /// Whether a frame that is sent goes back by the interface it came in through, if that is known.
    pub back: Option<bool>,
    /// As it would leave, if it is sent and that is known.
    pub frame: Option<Vec<u8>>,
}

/// # Errors
/// For a frame of a length outside [`FRAME_LENGTHS`].
pub(super) fn check_length(frame: &[u8]) -> Result<()> {
    ensure!(
        FRAME_LENGTHS.contains(&frame.len()),
        "a frame of {} bytes cannot be explained; {} to {} can",
        frame.len(),
        FRAME_LENGTHS.start(),
        FRAME_LENGTHS.end()
    );
    Ok(())
}

impl Course {
    /// Whether the packet itself names its server (a QUIC connection id).
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.stage == Some(Stage::Quic) && self.events.contains(&Event::QuicById)
    }
}

impl Explainer {
    /// Opens the maps of the copy; the pins must be there. What is returned loads it, and may do so on another thread.
    ///
    /// # Errors
    /// What the kernel or the checks say.
    pub fn loading(
        object: &Object,
        sizes: &MapSizes,
        pins: &Pins,
    ) -> Result<impl FnOnce() -> Result<Self> + Send + use<>> {
        let unverified = Unverified::open(object, sizes, Some(pins), Purpose::Explain)?;
        Ok(move || Self::of(unverified.verified()?))
    }

    fn of(mut ebpf: Ebpf) -> Result<Self> {
        let trail = maps::mapped(&mut ebpf, "TRAIL")?;
        Ok(Self { ebpf, trail })
    }

    /// What would become of this frame if it came in through the interface with this index.
    ///
    /// # Errors
    /// For a frame of a length outside [`FRAME_LENGTHS`], or what the kernel says.
    pub fn run(&mut self, ingress: u32, frame: &[u8]) -> Result<Course> {
        const XDP_TX: u32 = 3;
        check_length(frame)?;
        self.trail.all().iter().for_each(Trail::clear);
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, frame.len() as u32, 0, ingress, 0, 0];
        let context: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut output = vec![0; frame.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut output),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let result = xdp(&mut self.ebpf, ENTRY)?
            .test_run(options)
            .context("running the explaining copy of the program")?;
        output.truncate(result.data_size_out as usize);
        // It ran on one of the CPUs.
        let ran = self.trail.all().iter().find_map(|trail| Some((trail, trail.verdict()?)));
        let (trail, verdict) = ran.ok_or_else(|| anyhow!("the explaining copy came to no verdict"))?;
        Ok(Course {
            verdict,
            stage: trail.stage(),
            events: trail.events().collect(),
            server: trail.server(),
            service: trail.service(),
            back: Some(result.return_value == XDP_TX),
            frame: (verdict.action() == Action::Send).then_some(output),
        })
    }
}

//! Runs a program many times by BPF_PROG_TEST_RUN, each time on a fresh frame of the next flow.

use anyhow::{Context as _, Result, bail};
use aya::Ebpf;
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions};

use super::floors;
use super::plan::Plan;
use super::program::xdp;
use crate::stopwatch::Stopwatch;

/// More than any program adds to a frame.
const GROWTH: usize = 128;

/// Whether the kernel was told that a program takes frames of several buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buffers {
    One,
    Several,
}

/// A program under test, with a driver of its own.
pub struct Driver {
    ebpf: Ebpf,
    plan: Array<MapData, [u64; Plan::WORDS]>,
    program: &'static str,
    interface: u32,
}

/// What many runs took and said.
pub struct Ran {
    /// A packet, everything included, ns of this thread's processor time.
    pub nanoseconds: f64,
    /// Packets by action: aborted, drop, pass, send back, redirect.
    pub actions: [u64; 8],
}

impl Driver {
    /// Drives this program; frames come in by this interface.
    pub fn of(under_test: &ProgramFd, buffers: Buffers, interface: u32) -> Result<Self> {
        let mut ebpf = floors::open(1)?;
        let program = if buffers == Buffers::Several { "drive" } else { "drive_plain" };
        xdp(&mut ebpf, program)?.load().context("the kernel refuses the driver")?;
        let map = ebpf.map_mut("UNDER_TEST").context("the bench's object has no map UNDER_TEST")?;
        ProgramArray::try_from(map)?.set(0, under_test, 0).context("the driver cannot call the program")?;
        let plan = ebpf.take_map("PLAN").context("the bench's object has no map PLAN")?;
        Ok(Self { plan: Array::try_from(plan)?, ebpf, program, interface })
    }

    /// So many frames of a plan; they begin where the plan does.
    pub fn run(&mut self, plan: &Plan, packets: u32) -> Result<Ran> {
        self.plan.set(0, plan.to_words(), 0).context("cannot write the plan")?;
        let frame = frame_of(plan);
        let context = self.context(&frame);
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: packets,
            ..TestRunOptions::new()
        };
        let program = xdp(&mut self.ebpf, self.program)?;
        let begun = Stopwatch::start()?;
        program.test_run(options).context("BPF_PROG_TEST_RUN refuses the frame")?;
        let took = begun.nanoseconds()?;
        let actions = Plan::actions_in(&self.plan.get(&0, 0)?);
        if actions.iter().sum::<u64>() != u64::from(packets) {
            bail!("the driver counted {actions:?} of {packets} packets");
        }
        Ok(Ran { nanoseconds: took / f64::from(packets), actions })
    }

    /// The frames that the program makes of the first ones of a plan.
    pub fn outputs(&mut self, plan: &Plan, frames: u64) -> Result<Vec<(u32, Vec<u8>)>> {
        (0..frames).map(|number| self.output(&Plan { in_order: 1, state: number, ..*plan })).collect()
    }

    fn output(&mut self, plan: &Plan) -> Result<(u32, Vec<u8>)> {
        self.plan.set(0, plan.to_words(), 0).context("cannot write the plan")?;
        let frame = frame_of(plan);
        let context = self.context(&frame);
        let mut output = vec![0; frame.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut output),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let ran = xdp(&mut self.ebpf, self.program)?
            .test_run(options)
            .context("BPF_PROG_TEST_RUN refuses the frame")?;
        output.truncate(ran.data_size_out as usize);
        Ok((ran.return_value, output))
    }

    /// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    fn context(&self, frame: &[u8]) -> Vec<u8> {
        let words = [0, frame.len() as u32, 0, self.interface, 0, 0];
        words.into_iter().flat_map(u32::to_ne_bytes).collect()
    }
}

/// The frame that a plan begins with.
pub fn frame_of(plan: &Plan) -> Vec<u8> {
    let mut frame: Vec<u8> = plan.head.iter().flat_map(|word| word.to_ne_bytes()).collect();
    frame.resize(plan.length as usize, 0);
    frame
}

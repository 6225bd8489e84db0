//! A veth whose one end has the program under test, and who sends into the other: frames of the kernel's own
//! (BPF_F_TEST_XDP_LIVE_FRAMES), handed over, polled and sent back by the driver as any others.

use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, XdpMode};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use xlvs_tests::datapath::program::xdp;
use xlvs_tests::tools;

use xlvs_tests::datapath::driver::frame_of;
use xlvs_tests::datapath::floors;
use xlvs_tests::datapath::plan::Plan;

/// Where the program under test is, and the other end: the names that the data path's rig gives them.
pub const FRONT: &str = "front";
const PEER: &str = "front-peer";

/// As many frames as the driver takes in one poll.
const BATCH: u32 = 64;

/// Both roles of the other end: it sends, and it counts what comes back.
pub struct Cable {
    senders: Vec<Sender>,
    arrived: PerCpuArray<MapData, u64>,
    /// Attached as long as it lives.
    _counter: Ebpf,
}

/// What became of a load.
pub struct Carried {
    pub sent: u64,
    pub arrived: u64,
    pub took: Duration,
}

struct Sender {
    ebpf: Ebpf,
    plan: Array<MapData, [u64; Plan::WORDS]>,
    processor: usize,
    peer: u32,
}

impl Cable {
    /// Between the interfaces of the calling thread's namespace, with a queue a processor.
    pub fn lay() -> Result<Self> {
        let processors = processors()?;
        for interface in [FRONT, PEER] {
            let count = processors.len().to_string();
            let mut queues: Command = tools::command("ethtool")?;
            tools::output(queues.args(["-L", interface, "rx", &count, "tx", &count]))?;
        }
        let mut counter = floors::open(1)?;
        floors::program(&mut counter, "live_count")?
            .attach(PEER, XdpMode::Driver)
            .context("cannot attach who counts")?;
        let arrived = counter.take_map("ARRIVED").context("the bench's object has no map ARRIVED")?;
        let peer = nix::net::if_::if_nametoindex(PEER).context("the cable has no other end")?;
        let senders = processors.into_iter().map(|processor| Sender::new(processor, peer));
        Ok(Self {
            senders: senders.collect::<Result<_>>()?,
            arrived: PerCpuArray::try_from(arrived)?,
            _counter: counter,
        })
    }

    /// On how many processors it can send.
    pub const fn processors(&self) -> usize {
        self.senders.len()
    }

    /// So many frames on each of so many processors, each in an order of its own.
    pub fn carry(&mut self, plan: &Plan, frames: u32, processors: usize) -> Result<Carried> {
        let before = self.arrived()?;
        let start = Barrier::new(processors);
        let took = thread::scope(|scope| {
            let threads: Vec<_> = self.senders[..processors]
                .iter_mut()
                .map(|sender| scope.spawn(|| sender.send(plan, frames, &start)))
                .collect();
            let took = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a sender's thread panicked"))?);
            took.collect::<Result<Vec<Duration>>>()
        })?;
        Ok(Carried {
            sent: u64::from(frames) * processors as u64,
            arrived: self.at_rest()? - before,
            took: took.into_iter().max().unwrap_or_default(),
        })
    }

    /// How many came back, once no more do.
    fn at_rest(&self) -> Result<u64> {
        let mut before = self.arrived()?;
        loop {
            thread::sleep(Duration::from_millis(5));
            let now = self.arrived()?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }

    fn arrived(&self) -> Result<u64> {
        Ok(self.arrived.get(&0, 0)?.iter().sum())
    }
}

impl Sender {
    fn new(processor: usize, peer: u32) -> Result<Self> {
        let mut ebpf = floors::open(1)?;
        floors::program(&mut ebpf, "live_send")?;
        let plan = ebpf.take_map("PLAN").context("the bench's object has no map PLAN")?;
        Ok(Self { plan: Array::try_from(plan)?, ebpf, processor, peer })
    }

    fn send(&mut self, plan: &Plan, frames: u32, start: &Barrier) -> Result<Duration> {
        let ready = self.prepare(plan);
        // Before any error: the others wait.
        start.wait();
        let frame = ready?;
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> =
            [0, frame.len() as u32, 0, self.peer, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let program = xdp(&mut self.ebpf, "live_send")?;
        let begun = Instant::now();
        program.test_run(options).context("BPF_PROG_TEST_RUN refuses live frames")?;
        Ok(begun.elapsed())
    }

    fn prepare(&mut self, plan: &Plan) -> Result<Vec<u8>> {
        let mut own = CpuSet::new();
        own.set(self.processor)?;
        sched_setaffinity(Pid::from_raw(0), &own).context("cannot choose a processor")?;
        // Orders begin elsewhere on each processor; never with nothing, which is where the order stays.
        let state = plan.state.wrapping_add(self.processor as u64 * 0x9e37_79b9) | 1;
        self.plan.set(0, Plan { state, ..*plan }.to_words(), 0).context("cannot write the plan")?;
        Ok(frame_of(plan))
    }
}

/// Those that this process may run on.
fn processors() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for processors")?;
    Ok((0..CpuSet::count()).filter(|&number| allowed.is_set(number).unwrap_or(false)).collect())
}

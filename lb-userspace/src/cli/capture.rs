//! `xlvs capture`: asks the agent for what its capturing copy of the program has seen, until there is enough.

use super::exit::Exit;
use super::pcapng::PcapngFile;
use super::session::Session;
use super::streams;
use super::verb_args::Capture;
use crate::api::{CaptureReport, CapturedFrame, Failure, FailureKind};
use crate::control::{CaptureQuery, Report, Request};
use crate::output::Format;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Between two questions while little happens.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(verb: &Capture, session: &Session<'_>) -> Result<Exit, Failure> {
    let mut sink = Sink::open(verb.write.as_deref(), session.format)?;
    let mut left = verb.count.unwrap_or(u64::MAX);
    let query = CaptureQuery {
        service: verb.service.clone(),
        client: verb.client.clone(),
        vip: verb.vip.clone(),
        verdict: verb.verdict.clone(),
    };
    let mut report = ask(session, &Request::BeginCapture(query))?;
    // The copy of the program may have had to be loaded first.
    let deadline = verb.time.map(|time| Instant::now() + time.0);
    let capture = report.capture;
    loop {
        let idle = report.frames.is_empty();
        sink.take(&report, &mut left)?;
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if left == 0 || is_over {
            break;
        }
        if idle {
            let until = deadline.map_or(PAUSE, |deadline| deadline.saturating_duration_since(Instant::now()));
            thread::sleep(until.min(PAUSE));
        }
        report = ask(session, &Request::GoOnCapturing { capture })?;
    }
    // What came in until the serving program was back.
    let report = ask(session, &Request::EndCapture { capture })?;
    sink.take(&report, &mut left)?;
    sink.close(report.lost)
}

fn ask(session: &Session<'_>, request: &Request) -> Result<CaptureReport, Failure> {
    session.ask(request, |report| match report {
        Report::Capture(report) => Some(report),
        _ => None,
    })
}

/// Where frames go.
enum Sink {
    File { file: PcapngFile, frames: u64 },
    Lines,
    Json,
}

impl Sink {
    fn open(path: Option<&Path>, format: Format) -> Result<Self, Failure> {
        Ok(match (path, format) {
            (Some(path), _) => Self::File { file: PcapngFile::create(path)?, frames: 0 },
            (None, Format::Json) => Self::Json,
            (None, Format::Table) => Self::Lines,
        })
    }

    fn take(&mut self, report: &CaptureReport, left: &mut u64) -> Result<(), Failure> {
        for frame in &report.frames {
            if *left == 0 {
                break;
            }
            *left -= 1;
            match self {
                Self::File { file, frames } => {
                    file.write(frame)?;
                    *frames += 1;
                }
                Self::Lines => streams::data(&line(frame))?,
                Self::Json => {
                    let text = serde_json::to_string(frame).map_err(|error| {
                        Failure::new(
                            FailureKind::Internal,
                            format!("could not write a frame as JSON: {error}"),
                        )
                    })?;
                    streams::data(&(text + "\n"))?;
                }
            }
        }
        // Whoever ends this by a signal has what came until then.
        if let Self::File { file, .. } = self { file.flush() } else { Ok(()) }
    }

    fn close(self, lost: u64) -> Result<Exit, Failure> {
        if let Self::File { file, frames } = self {
            let count = if frames == 1 { "1 frame".to_owned() } else { format!("{frames} frames") };
            streams::talk(format_args!("xlvs: {count} captured in {}", file.path().display()));
        }
        if lost > 0 {
            let what = format!(
                "xlvs: at least {lost} frames were lost; a narrower filter (--client, --vip, --service, --verdict) helps"
            );
            streams::talk(what);
        }
        Ok(Exit::Done)
    }
}

/// A frame for people.
fn line(frame: &CapturedFrame) -> String {
    let interface = frame.interface.as_deref().unwrap_or("?");
    let mut text = format!("{} {}\n", frame.at, decided(frame));
    text += &format!("  in   {interface}: {}\n", frame.before.text);
    if let Some(after) = &frame.after {
        text += &format!("  out  {}\n", after.text);
    }
    text
}

/// What was decided about a frame, in a line.
pub(super) fn decided(frame: &CapturedFrame) -> String {
    let mut text = format!("{} (stage {})", frame.verdict, frame.stage);
    if let Some(service) = &frame.service {
        let server = frame.server.as_ref().map_or_else(String::new, |server| format!("/{server}"));
        text += &format!(" {service}{server}");
    }
    if !frame.events.is_empty() {
        text += &format!(" [{}]", frame.events.join(", "));
    }
    text
}

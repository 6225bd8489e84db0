//! Captures: the capturing copy of the program takes the serving one's place, for as long as somebody asks what it saw.
//!
//! Whoever captures asks again and again. If that stops (the command line was killed), the agent puts the serving program
//! back; if the agent stops, too, the copy's lease runs out, and it only serves until the next agent takes its place.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use lb_common::capture::Captured;
use lb_common::net::{Addr, Port};
use lb_common::slot::ServerId;
use lb_common::trail::Trail;
use lb_common::verdict::Verdict;

use super::actor::{Agent, refused};
use super::course::stage_name;
use super::desired::{DesiredService, ServiceIdentity};
use super::install::Installation;
use crate::api::{
    CaptureReport, CapturedBytes, CapturedFrame, Failure, FailureKind, Hex, Schema, Time, time_of,
};
use crate::control::{CaptureQuery, EndQuery};
use crate::dataplane::{Wanted, monotonic_ns};
use crate::net::View;
use crate::packet;

/// How long the copy captures after it was told to go on.
const LEASE: Duration = Duration::from_secs(3);

/// How long nobody may ask before the capture is over.
const PATIENCE: Duration = Duration::from_secs(2);

/// Frames in one answer.
const BATCH: usize = 500;

/// A capture that is under way.
pub(super) struct Capture {
    number: u64,
    query: CaptureQuery,
    asked: Instant,
    /// What the copy had lost before.
    lost: u64,
}

impl Agent {
    /// # Errors
    /// For a filter that names what is not there, if another capture runs, or if the kernel did not take the copy.
    pub(super) async fn begin_capture(&mut self, query: CaptureQuery) -> Result<CaptureReport, Failure> {
        if self.capture.is_some() {
            let what =
                "another capture runs; one at a time (one that was killed is over after three seconds)";
            return Err(Failure::new(FailureKind::Refused, what));
        }
        let wanted = self.frames_wanted(&query)?;
        let devices = self.devices();
        self.capturer.settled().await;
        let capturer = self.capturer.get("capturing")?;
        capturer.set(&wanted);
        // What nobody fetched from the one before.
        capturer.take(usize::MAX, |_| ());
        capturer.lease(LEASE);
        let lost = capturer.lost();
        let taken = capturer.take_over(&self.pins, devices.iter().map(String::as_str));
        self.captures += 1;
        self.capture = Some(Capture { number: self.captures, query, asked: Instant::now(), lost });
        if let Err(error) = taken {
            self.end_capture();
            return Err(refused(error));
        }
        tracing::info!("capturing");
        Ok(self.captured(self.captures, lost, BATCH))
    }

    /// # Errors
    /// If that capture is over.
    pub(super) fn go_on_capturing(&mut self, number: u64) -> Result<CaptureReport, Failure> {
        let capture = self.capture_numbered(number)?;
        let (query, lost) = (capture.query.clone(), capture.lost);
        let wanted = self.frames_wanted(&query)?;
        if let Ok(capturer) = self.capturer.get("capturing") {
            // A reload may have given the service other numbers.
            capturer.set(&wanted);
            capturer.lease(LEASE);
        }
        Ok(self.captured(number, lost, BATCH))
    }

    /// # Errors
    /// If that capture is over.
    pub(super) fn finish_capture(&mut self, number: u64) -> Result<CaptureReport, Failure> {
        let lost = self.capture_numbered(number)?.lost;
        self.end_capture();
        Ok(self.captured(number, lost, usize::MAX))
    }

    /// Ends a capture about which nobody asks any more.
    pub(super) fn look_after_capture(&mut self, now: Instant) {
        if self.capture.as_ref().is_some_and(|capture| now.duration_since(capture.asked) > PATIENCE) {
            tracing::info!("nobody asks about the capture any more; it is over");
            self.end_capture();
        }
    }

    /// Puts the serving program back, if a capture runs.
    pub(super) fn end_capture(&mut self) {
        if self.capture.take().is_none() {
            return;
        }
        if let Ok(capturer) = self.capturer.get("capturing") {
            capturer.lease(Duration::ZERO);
        }
        let outcome = self.put_back();
        if let Err(error) = outcome {
            tracing::error!(
                "the capturing copy of the program could not be replaced, and serves on: {error:#}"
            );
        }
    }

    fn put_back(&mut self) -> Result<()> {
        for device in self.devices() {
            self.program.return_to(&self.pins, &device)?;
        }
        self.program.supersede(&self.pins)
    }

    /// The devices at whose hooks the program is, each once.
    fn devices(&self) -> Vec<String> {
        let mut devices: Vec<String> =
            self.interfaces.iter().map(|interface| interface.device.clone()).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    fn capture_numbered(&mut self, number: u64) -> Result<&mut Capture, Failure> {
        let capture = self.capture.as_mut().filter(|capture| capture.number == number);
        let capture = capture.ok_or_else(|| {
            let what =
                "the capture is over: it was not asked about for too long, or the agent was started anew";
            Failure::new(FailureKind::Refused, what)
        })?;
        capture.asked = Instant::now();
        Ok(capture)
    }

    fn frames_wanted(&self, query: &CaptureQuery) -> Result<Wanted, Failure> {
        let end = |query: &EndQuery| (Addr::from(query.address), query.port.map(Port::from_host));
        let verdict = query.verdict.as_deref().map(|name| {
            Verdict::ALL.iter().copied().find(|verdict| verdict.name() == name).ok_or_else(|| {
                let what = format!("no verdict is called {name:?}; 'xlvs status -o json' names them all");
                Failure::new(FailureKind::Usage, what)
            })
        });
        let services = query.service.as_deref().map(|name| {
            let wanted: Vec<_> = self.wanted().into_iter().filter(|service| &*service.name == name).collect();
            if wanted.is_empty() {
                return Err(Failure::new(FailureKind::NotFound, format!("there is no service {name:?}")));
            }
            let is_its =
                |identity: &ServiceIdentity| wanted.iter().any(|service| service.identity == *identity);
            let lanes = self.installation.ledger.services();
            Ok(lanes.filter(|(_, identity)| is_its(identity)).map(|(number, _)| number).collect())
        });
        Ok(Wanted {
            client: query.client.as_ref().map(end),
            vip: query.vip.as_ref().map(end),
            verdict: verdict.transpose()?,
            services: services.transpose()?,
        })
    }

    /// What has been captured since the last time, up to so many frames. `before`: what had been lost when it began.
    fn captured(&mut self, capture: u64, before: u64, most: usize) -> CaptureReport {
        let wanted = self.wanted();
        let view = self.view.borrow().clone();
        let telling = Telling {
            installation: &self.installation,
            names: self.installation.names(&wanted),
            wanted,
            view: &view,
        };
        let mut frames = Vec::new();
        let mut lost = 0;
        if let Ok(capturer) = self.capturer.get("capturing") {
            capturer.take(most, |captured| frames.push(telling.frame(&captured)));
            lost = capturer.lost() - before;
        }
        CaptureReport { schema: Schema, capture, frames, lost }
    }
}

/// By what the numbers in a captured frame are told as names.
struct Telling<'a> {
    installation: &'a Installation,
    names: Vec<(ServerId, String, String)>,
    wanted: Vec<DesiredService>,
    view: &'a View,
}

impl Telling<'_> {
    fn frame(&self, captured: &Captured<'_>) -> CapturedFrame {
        let Captured { head, before, after } = captured;
        let trail = Trail::of(head.trail);
        let pair = trail.server().and_then(|id| self.names.iter().find(|(held, ..)| *held == id));
        let service = pair.map(|(_, service, _)| service.clone());
        let bytes = |bytes: &[u8], length| CapturedBytes {
            text: packet::told(bytes),
            length,
            bytes: Hex(bytes.to_vec()),
        };
        CapturedFrame {
            schema: Schema,
            at: moment(head.at),
            interface: self.view.links.get(&(head.ingress as u32)).map(|link| link.name.clone()),
            verdict: trail.verdict().map_or("unknown", Verdict::name).to_owned(),
            stage: stage_name(trail.stage()).to_owned(),
            events: trail.events().map(|event| event.name().to_owned()).collect(),
            service: service.or_else(|| {
                trail.service().and_then(|number| self.installation.service_name(&self.wanted, number))
            }),
            server: pair.map(|(.., server)| server.clone()),
            before: bytes(before, head.length),
            after: after.map(|after| bytes(after, head.length_after)),
        }
    }
}

/// When it was so late by the machine's clock.
fn moment(at_ns: u64) -> Time {
    let ago = Duration::from_nanos(monotonic_ns().saturating_sub(at_ns));
    let then = SystemTime::now() - ago;
    Time::try_from(then).unwrap_or_else(|_| time_of(then))
}

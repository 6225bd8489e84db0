//! What the data path would do with a packet: asked of the explaining copy of the program, which stands over the same maps
//! and changes nothing.

use lb_common::net::PortNumber;
use lb_common::stage::Stage;
use lb_common::wire::{Tags, Wire};

use super::actor::{Agent, refused};
use super::course::{Books, stage_name};
use crate::api::{ExplainReport, Failure, FailureKind};
use crate::control::{FrameQuery, PacketQuery};
use crate::packet;

impl Agent {
    /// # Errors
    /// For a packet that cannot be, or if the kernel did not take the copy.
    pub(super) async fn explain(&mut self, query: &PacketQuery) -> Result<ExplainReport, Failure> {
        self.explainer.settled().await;
        let (_, way_in) = self.ingress(query.interface.as_deref())?;
        of_ends(query, way_in.tags, |frame| self.course_of(frame, query.interface.as_deref()))
    }

    /// # Errors
    /// For a frame that is too short or too long, or if the kernel did not take the copy.
    pub(super) async fn explain_frame(&mut self, query: &FrameQuery) -> Result<ExplainReport, Failure> {
        self.explainer.settled().await;
        self.course_of(query.frame.0.clone(), query.interface.as_deref())
    }

    fn course_of(&mut self, frame: Vec<u8>, interface: Option<&str>) -> Result<ExplainReport, Failure> {
        let (name, way_in) = self.ingress(interface)?;
        let explainer = self.explainer.get("explaining")?;
        let course = explainer.run(way_in.device, &frame).map_err(refused)?;
        let books = Books { installation: &self.installation, wanted: &self.wanted(), model: &self.model };
        Ok(books.report(name, frame, course, Vec::new()))
    }

    /// The interface that the packet is to come in through: its name, and where its frames are on the wire.
    fn ingress(&self, wanted: Option<&str>) -> Result<(String, Wire), Failure> {
        let mut attached = self.interfaces.iter();
        let found = match wanted {
            Some(wanted) => attached.find(|interface| interface.name == wanted),
            None => attached.next(),
        };
        let known = found.and_then(|interface| {
            let port = PortNumber::of_interface(interface.index?);
            Some((interface.name.clone(), self.installation.maps.interfaces.get(port.index())?.wire()))
        });
        known.ok_or_else(|| {
            let names: Vec<&str> = self.interfaces.iter().map(|interface| interface.name.as_str()).collect();
            let what = format!(
                "xlvs is not attached to {}; name one of {}",
                wanted.unwrap_or("any interface"),
                names.join(", ")
            );
            Failure::new(FailureKind::Usage, what)
        })
    }
}

/// What becomes of the packet with these ends, by what becomes of a frame.
pub(super) fn of_ends(
    query: &PacketQuery,
    tags: Tags,
    mut explain: impl FnMut(Vec<u8>) -> Result<ExplainReport, Failure>,
) -> Result<ExplainReport, Failure> {
    let frame = |flags| {
        let frame = packet::of_query(query, flags).map_err(|what| Failure::new(FailureKind::Usage, what))?;
        Ok::<_, Failure>(packet::dressed(&frame, tags))
    };
    let report = explain(frame(packet::SYN)?)?;
    // What a server sends amid a client's connection is no bare SYN, which would be a connection of its own.
    if [Stage::Reply, Stage::FullNatReply].map(|stage| stage_name(Some(stage))).contains(&&*report.stage) {
        return explain(frame(packet::SYN_ACK)?);
    }
    Ok(report)
}

//! `xlvs explain` for people.

use super::Render;
use crate::api::{Decision, ExplainReport};
use std::net::SocketAddr;

impl Render for ExplainReport {
    fn table(&self) -> String {
        let mut text = format!("{}: {}\n", subject(self), outcome(self));
        for (index, step) in self.why.iter().enumerate() {
            text += &format!("{:>3}. {step}\n", index + 1);
        }
        text += &format!("  in   {}: {}\n", self.interface, self.before.text);
        if let Some(after) = &self.after {
            text += &format!("  out  {}\n", after.text);
        }
        text
    }
}

fn subject(report: &ExplainReport) -> String {
    match (&report.protocol, report.source, report.destination) {
        (Some(protocol), Some(source), Some(destination)) => format!("{protocol} {source} to {destination}"),
        _ => "this frame".to_owned(),
    }
}

fn outcome(report: &ExplainReport) -> String {
    let Some(server) = &report.server else { return report.verdict.clone() };
    let service = report.service.as_deref().unwrap_or("?");
    let address = match (report.server_address, report.server_port) {
        (Some(address), Some(port)) => format!(" ({})", SocketAddr::new(address, port)),
        (Some(address), None) => format!(" ({address})"),
        (None, _) => String::new(),
    };
    let how = match &report.decision {
        Decision::Entry => ", by its entry in the connection table",
        Decision::Pick => ", by a fresh pick",
        Decision::Reply => ", a reply on its way back",
        Decision::Quoted => ", by the packet it quotes",
        Decision::Named => ", by its connection id",
        Decision::Flow => ", by its flow",
        Decision::Fragment => ", as a part of a datagram",
        Decision::None | Decision::Other(_) => "",
    };
    format!("{} {service}/{server}{address}{how}", report.verdict)
}

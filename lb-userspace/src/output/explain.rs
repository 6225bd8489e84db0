//! `xlvs explain` for people.

use super::Render;
use crate::api::{Decision, ExplainReport};
use std::net::SocketAddr;

impl Render for ExplainReport {
    fn table(&self) -> String {
        let mut text =
            format!("{} {} to {}: {}\n", self.protocol, self.source, self.destination, outcome(self));
        for (index, step) in self.why.iter().enumerate() {
            text += &format!("{:>3}. {step}\n", index + 1);
        }
        text
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
        Decision::None | Decision::Other(_) => "",
    };
    format!("{} {service}/{server}{address}{how}", report.verdict)
}

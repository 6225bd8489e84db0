//! `xlvs explain` for people.

use super::Render;
use super::table::{Column, facts, table};
use crate::api::{Candidate, Decision, ExplainReport};
use std::net::{IpAddr, SocketAddr};

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
        if !self.candidates.is_empty() {
            text += "\n";
            text += &table(&COLUMNS, self.candidates.iter().map(row));
        }
        if !self.assumed.is_empty() {
            text += "\n";
            text += &facts(self.assumed.iter().map(|what| ("assumed", what.clone())));
        }
        text
    }
}

const COLUMNS: [Column; 3] = [Column::Text("CANDIDATE"), Column::Text("ADDRESS"), Column::Number("SHARE")];

fn row(candidate: &Candidate) -> Vec<String> {
    let Candidate { server, address, port, share } = candidate;
    vec![server.clone(), end(*address, *port), format!("{:.1} %", share * 100.0)]
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

fn subject(report: &ExplainReport) -> String {
    match (&report.protocol, report.source, report.destination) {
        (Some(protocol), Some(source), Some(destination)) => format!("{protocol} {source} to {destination}"),
        _ => "this frame".to_owned(),
    }
}

fn outcome(report: &ExplainReport) -> String {
    let service = report.service.as_deref().unwrap_or("?");
    let Some(server) = &report.server else {
        return match report.candidates.len() {
            0 => report.verdict.clone(),
            several => format!("{} {service}, one of {several} servers", report.verdict),
        };
    };
    let address =
        report.server_address.map(|ip| format!(" ({})", end(ip, report.server_port))).unwrap_or_default();
    let how = match &report.decision {
        Decision::Entry => ", by its entry in the connection table",
        Decision::Pick => ", by a fresh pick",
        Decision::Reply => ", a reply on its way back",
        Decision::Quoted => ", by the packet it quotes",
        Decision::Named => ", by its connection id",
        Decision::Replica => ", as another director held it",
        Decision::Flow => ", by its flow",
        Decision::Fragment => ", as a part of a datagram",
        Decision::None | Decision::Other(_) => "",
    };
    format!("{} {service}/{server}{address}{how}", report.verdict)
}

//! Does the server take what is sent to the VIP, by the way that traffic goes? A SYN, or the check's own datagram, by direct routing
//! or through the tunnel.

use std::net::SocketAddr;
use std::pin::pin;

use super::{Deadline, Kit, Outcome, ask_server, dns, tcp, udp};
use crate::config::{Knock, Probe};
use crate::health::spec::{Ask, Path};
use crate::health::wire::{Reply, Wire};

/// Whether nothing is left to ask at the server's own address: that it connects, or answers, is what the VIP is asked.
pub(super) fn is_whole(own: SocketAddr, ask: &Ask, path: &Path) -> bool {
    match path.knock {
        Knock::Syn => *ask == Ask::Health(Probe::Tcp) && path.is_at(own.port()),
        Knock::Check => true,
    }
}

/// Knocks at each VIP. `own`: where the server is spoken to by its own address, to tell what is wrong when it keeps silent.
pub(super) async fn probe(
    own: SocketAddr,
    ask: &Ask,
    path: &Path,
    kit: &Kit,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let Some(wire) = &kit.wire else {
        return Err(Outcome::Untested("no packet socket, on this host".into()));
    };
    let mut found = Vec::new();
    for &vip in &path.vips {
        let mut knock = pin!(knock(own, vip, ask, path, wire, deadline));
        // Asked meanwhile: afterwards there would be no time left.
        let (knocked, spoken) = tokio::select! {
            biased;
            knocked = &mut knock => (knocked, Ok(false)),
            spoken = speaks(own, ask, path.knock, kit, deadline) => (knock.await, spoken),
        };
        match (knocked, spoken) {
            (Ok(Outcome::Passed(reason)), _) => found.push(reason),
            (Err(Outcome::Failed(why)), Ok(true)) => {
                let tunnel = if path.tunnel.is_some() { "the tunnel, or " } else { "" };
                // The usual mistake of a UDP server that listens on all addresses at once.
                let other = match path.knock {
                    Knock::Syn => "",
                    Knock::Check => ", or answers from another address",
                };
                let lacks = format!("lacks {tunnel}the VIP on its loopback device{other}");
                return Ok(Outcome::Failed(format!("{why}, while {own} answers: it {lacks}")));
            }
            // It says more than silence does.
            (Err(Outcome::Failed(_)), Err(says)) => return Err(says),
            (knocked, _) => return knocked,
        }
    }
    Ok(Outcome::Passed(found.join("; ")))
}

/// Knocks at one. Silence is an error, and an answer is what it says.
async fn knock(
    own: SocketAddr,
    vip: SocketAddr,
    ask: &Ask,
    path: &Path,
    wire: &Wire,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let tunnel = path.tunnel.as_ref();
    let way = if tunnel.is_some() { "through the tunnel" } else { "by direct routing" };
    let asked = |step: String, question: Vec<u8>| async move {
        let answer = deadline.run(&step, wire.ask(own.ip(), vip, tunnel, &question)).await?;
        Ok((step, question, answer))
    };
    match (path.knock, ask) {
        (Knock::Check, Ask::Health(Probe::Udp(check))) => {
            let (step, _, answer) = asked(format!("UDP to {vip} {way}"), check.send.clone()).await?;
            Ok(udp::judged(&step, check, &answer))
        }
        (Knock::Check, Ask::Health(Probe::Dns(check))) => {
            let step = format!("DNS {} {} at {vip} {way}", check.record, check.name);
            let (step, question, answer) = asked(step, dns::question(fastrand::u16(..), check)).await?;
            Ok(dns::judged(&step, check, &question, &answer))
        }
        _ => {
            let step = format!("SYN to {vip} {way}");
            Ok(match deadline.run(&step, wire.knock(own.ip(), vip, tunnel)).await? {
                Reply::Accepted => Outcome::Passed(format!("{step}: accepted")),
                Reply::Refused => Outcome::Failed(format!("{step}: connection refused")),
            })
        }
    }
}

/// Whether it answers at its own address, be it by refusing a connection; an error is what it says instead.
async fn speaks(
    own: SocketAddr,
    ask: &Ask,
    knock: Knock,
    kit: &Kit,
    deadline: Deadline,
) -> Result<bool, Outcome> {
    match knock {
        Knock::Syn => Ok(match tcp::connect(own, deadline).await {
            Ok(_) => true,
            Err(outcome) => outcome.reason().ends_with("refused"),
        }),
        Knock::Check => Box::pin(ask_server(own, ask, kit, deadline)).await.map(|_| true),
    }
}

//! Does the server take what is sent to the VIP, by the way that traffic goes? A SYN by direct routing or through the tunnel.

use std::net::SocketAddr;
use std::pin::pin;

use super::{Deadline, Kit, Outcome, tcp};
use crate::health::spec::Path;
use crate::health::wire::Reply;

/// Knocks at each VIP. `own`: where the server is spoken to by its own address, to tell what is wrong when it keeps silent.
pub(super) async fn probe(
    own: SocketAddr,
    path: &Path,
    kit: &Kit,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let Some(wire) = &kit.wire else {
        return Err(Outcome::Untested("no packet socket, on this host".into()));
    };
    let way = if path.tunnel.is_some() { "through the tunnel" } else { "by direct routing" };
    for vip in &path.vips {
        let step = format!("SYN to {vip} {way}");
        let mut knock = pin!(deadline.run(&step, wire.knock(own.ip(), *vip, path.tunnel.as_ref())));
        // Asked meanwhile: afterwards there would be no time left.
        let (knocked, spoken) = tokio::select! {
            biased;
            knocked = &mut knock => (knocked, false),
            spoken = speaks(own, deadline) => (knock.await, spoken),
        };
        match knocked {
            Ok(Reply::Accepted) => {}
            Ok(Reply::Refused) => return Ok(Outcome::Failed(format!("{step}: connection refused"))),
            Err(Outcome::Failed(why)) if spoken => {
                let lacks = match path.tunnel {
                    Some(_) => "lacks the tunnel, or the VIP on its loopback device",
                    None => "lacks the VIP on its loopback device",
                };
                return Ok(Outcome::Failed(format!("{why}, while {own} answers: it {lacks}")));
            }
            Err(outcome) => return Err(outcome),
        }
    }
    let vips: Vec<_> = path.vips.iter().map(ToString::to_string).collect();
    Ok(Outcome::Passed(format!("SYN to {} {way}: accepted", vips.join(", "))))
}

/// Whether it answers at its own address, be it by refusing.
async fn speaks(own: SocketAddr, deadline: Deadline) -> bool {
    match tcp::connect(own, deadline).await {
        Ok(_) => true,
        Err(outcome) => outcome.reason().ends_with("refused"),
    }
}

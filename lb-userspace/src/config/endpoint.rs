//! Where directors reach each other: an address and a port.

use std::net::{IpAddr, SocketAddr};

use super::address;
use super::source::Reported;
use super::table::{Entry, quoted};

/// The port that directors listen at, unless they say another one.
const PORT: u16 = 7467;

/// Where another director is reached.
pub(super) fn read(entry: &Entry<'_>, example: &str) -> Result<SocketAddr, Reported> {
    let endpoint = parse(entry, example)?;
    address::of_a_host(entry, endpoint.ip())?;
    Ok(endpoint)
}

/// Where this director listens, which may be at all its addresses.
pub(super) fn read_listen(entry: &Entry<'_>, example: &str) -> Result<SocketAddr, Reported> {
    let endpoint = parse(entry, example)?;
    if !endpoint.ip().is_unspecified() {
        address::of_a_host(entry, endpoint.ip())?;
    }
    Ok(endpoint)
}

fn parse(entry: &Entry<'_>, example: &str) -> Result<SocketAddr, Reported> {
    let text = entry.text(example)?;
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    let Ok(endpoint) = text.parse::<SocketAddr>().or_else(|_| alone()) else {
        let what = format!("{} is not an address with a port", quoted(text));
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        return Err(entry.problem(what, address::remedy_for(host, example)));
    };
    if endpoint.port() == 0 {
        return Err(entry.problem("port 0 cannot be reached", format!("write {example}")));
    }
    Ok(endpoint)
}

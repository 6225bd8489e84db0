//! Rates, computed from two readings of counters that only grow.

use super::{ServerStatus, ServiceStatus};
use serde::{Deserialize, Serialize};

/// How fast a service or a server works, per second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// New connections.
    pub connections_per_second: f64,
    /// Packets from clients.
    pub packets_per_second: f64,
    /// Bytes from clients.
    pub bytes_per_second: f64,
    /// Replies; null where they do not pass.
    pub reply_packets_per_second: Option<f64>,
    /// Bytes of replies; null where they do not pass.
    pub reply_bytes_per_second: Option<f64>,
}

/// The counters that rates are computed from.
trait Counters {
    fn forward(&self) -> [u64; 3];
    fn reply(&self) -> Option<[u64; 2]>;
}

impl Rates {
    /// A server's rates between two readings `seconds` apart.
    ///
    /// `None` if no time has passed or a counter went backwards: then it is another server under the same
    /// name, or its maps were made anew, and a number would be a lie.
    #[must_use]
    pub fn of_server(earlier: &ServerStatus, later: &ServerStatus, seconds: f64) -> Option<Self> {
        between(earlier, later, seconds)
    }

    /// A service's rates between two readings `seconds` apart; `None` as in [`Rates::of_server`].
    #[must_use]
    pub fn of_service(earlier: &ServiceStatus, later: &ServiceStatus, seconds: f64) -> Option<Self> {
        between(earlier, later, seconds)
    }

    /// Fills in the rates of every service and server of `later` from an `earlier` reading of the same maps.
    pub fn fill(earlier: &[ServiceStatus], later: &mut [ServiceStatus], seconds: f64) {
        for service in later {
            let Some(before) = earlier.iter().find(|before| before.name == service.name) else { continue };
            service.rates = between(before, service, seconds);
            for server in &mut service.servers {
                let before = before.servers.iter().find(|before| before.is_same(server));
                server.rates = before.and_then(|before| between(before, server, seconds));
            }
        }
    }

    /// The sum of several; replies are known if they are known for one of them.
    #[must_use]
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let plus = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (None, None) => None,
            _ => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
        parts.into_iter().fold(Self::default(), |a, b| Self {
            connections_per_second: a.connections_per_second + b.connections_per_second,
            packets_per_second: a.packets_per_second + b.packets_per_second,
            bytes_per_second: a.bytes_per_second + b.bytes_per_second,
            reply_packets_per_second: plus(a.reply_packets_per_second, b.reply_packets_per_second),
            reply_bytes_per_second: plus(a.reply_bytes_per_second, b.reply_bytes_per_second),
        })
    }
}

fn between<C: Counters>(earlier: &C, later: &C, seconds: f64) -> Option<Rates> {
    let [connections, packets, bytes] = per_second(earlier.forward(), later.forward(), seconds)?;
    let reply = match (earlier.reply(), later.reply()) {
        (Some(earlier), Some(later)) => Some(per_second(earlier, later, seconds)?),
        _ => None,
    };
    Some(Rates {
        connections_per_second: connections,
        packets_per_second: packets,
        bytes_per_second: bytes,
        reply_packets_per_second: reply.map(|[packets, _]| packets),
        reply_bytes_per_second: reply.map(|[_, bytes]| bytes),
    })
}

fn per_second<const N: usize>(earlier: [u64; N], later: [u64; N], seconds: f64) -> Option<[f64; N]> {
    if seconds <= 0.0 {
        return None;
    }
    let mut rates = [0.0; N];
    for ((rate, earlier), later) in rates.iter_mut().zip(earlier).zip(later) {
        *rate = rate_of(earlier, later, seconds)?;
    }
    Some(rates)
}

/// One counter's rate to a thousandth; `None` if it went backwards.
pub(crate) fn rate_of(earlier: u64, later: u64, seconds: f64) -> Option<f64> {
    let rate = later.checked_sub(earlier)? as f64 / seconds;
    Some((rate * 1000.0).round() / 1000.0)
}

impl Counters for ServerStatus {
    fn forward(&self) -> [u64; 3] {
        [self.connections_total, self.packets, self.bytes]
    }
    fn reply(&self) -> Option<[u64; 2]> {
        Some([self.reply_packets?, self.reply_bytes?])
    }
}

impl Counters for ServiceStatus {
    fn forward(&self) -> [u64; 3] {
        [self.connections_total, self.packets, self.bytes]
    }
    fn reply(&self) -> Option<[u64; 2]> {
        Some([self.reply_packets?, self.reply_bytes?])
    }
}

#[cfg(test)]
mod tests {
    use super::{Rates, per_second};

    #[test]
    fn a_rate_is_growth_over_time() {
        assert_eq!(per_second([0, 10], [500, 10], 2.0), Some([250.0, 0.0]));
    }

    #[test]
    fn a_counter_that_went_backwards_has_no_rate() {
        assert_eq!(per_second([5, 5], [6, 4], 1.0), None);
    }

    #[test]
    fn no_time_no_rate() {
        assert_eq!(per_second([0], [1], 0.0), None);
        assert_eq!(per_second([0], [1], -1.0), None);
    }

    #[test]
    fn replies_are_known_if_one_part_knows_them() {
        let nat = Rates { packets_per_second: 1.0, reply_packets_per_second: Some(2.0), ..Rates::default() };
        let dr = Rates { packets_per_second: 4.0, ..Rates::default() };
        let sum = Rates::sum([&nat, &dr]);
        assert_eq!((sum.packets_per_second, sum.reply_packets_per_second), (5.0, Some(2.0)));
        assert_eq!(Rates::sum([&dr]).reply_packets_per_second, None);
    }
}

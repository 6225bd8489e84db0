//! wrk, and its report in numbers.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::tools;

/// What to run.
#[derive(Clone, Debug)]
pub struct WrkPlan {
    pub url: String,
    pub connections: usize,
    pub duration: Duration,
    /// Each connection serves many requests; otherwise one.
    pub keep_alive: bool,
}

/// What wrk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WrkReport {
    pub requests: u64,
    pub requests_per_second: f64,
    pub connect_errors: u64,
    pub read_errors: u64,
    pub write_errors: u64,
    pub timeouts: u64,
    /// Answers that were neither 2xx nor 3xx.
    pub not_ok: u64,
    /// Half of the requests were answered within this time.
    pub median: Duration,
    /// 99 of a hundred.
    pub p99: Duration,
}

impl WrkReport {
    pub fn errors(&self) -> u64 {
        self.connect_errors + self.read_errors + self.write_errors + self.timeouts + self.not_ok
    }
}

impl fmt::Display for WrkReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} requests, {:.0} a second; errors: connect {}, read {}, write {}, timeout {}, not 2xx {}",
            self.requests,
            self.requests_per_second,
            self.connect_errors,
            self.read_errors,
            self.write_errors,
            self.timeouts,
            self.not_ok
        )
    }
}

/// Runs wrk with one thread inside `namespace`.
pub fn wrk(namespace: &Namespace, plan: &WrkPlan) -> Result<WrkReport> {
    let mut command = namespace.command("wrk")?;
    let seconds = plan.duration.as_secs().max(1);
    command.args([
        "-t1",
        &format!("-c{}", plan.connections),
        &format!("-d{seconds}s"),
        "--timeout",
        "5s",
        "--latency",
    ]);
    if !plan.keep_alive {
        command.args(["-H", "Connection: close"]);
    }
    let text = tools::output(command.arg(&plan.url))?;
    parse(&text).with_context(|| format!("cannot understand what wrk printed:\n{text}"))
}

fn parse(text: &str) -> Option<WrkReport> {
    let mut report = WrkReport::default();
    let mut counted = false;
    for line in text.lines().map(str::trim) {
        if let Some((requests, _)) = line.split_once(" requests in ") {
            report.requests = requests.parse().ok()?;
            counted = true;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            report.requests_per_second = rate.trim().parse().ok()?;
        } else if let Some(time) = line.strip_prefix("50%") {
            report.median = time_of(time.trim())?;
        } else if let Some(time) = line.strip_prefix("99%") {
            report.p99 = time_of(time.trim())?;
        } else if let Some(not_ok) = line.strip_prefix("Non-2xx or 3xx responses:") {
            report.not_ok = not_ok.trim().parse().ok()?;
        } else if let Some(errors) = line.strip_prefix("Socket errors:") {
            for error in errors.split(',') {
                let (kind, count) = error.trim().split_once(' ')?;
                let count = count.parse().ok()?;
                match kind {
                    "connect" => report.connect_errors = count,
                    "read" => report.read_errors = count,
                    "write" => report.write_errors = count,
                    "timeout" => report.timeouts = count,
                    _ => return None,
                }
            }
        }
    }
    counted.then_some(report)
}

/// As wrk writes times: `635.91us`, `1.25ms`, `2.00s`, `1.50m`.
fn time_of(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_errors_is_read_whole() {
        let text = "Running 10s test @ http://10.77.1.100/\n  1 threads and 64 connections\n  \
            Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.0ms    2.0ms  30.0ms   90.00%\n  Latency Distribution\n     50%  635.91us\n     75%    1.10ms\n     \
            90%    1.75ms\n     99%   12.50ms\n  123456 requests in 10.01s, 20.00MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  \
            Non-2xx or 3xx responses: 5\nRequests/sec:  12333.26\nTransfer/sec:      2.00MB\n";
        let report = parse(text).unwrap();
        assert_eq!(report.requests, 123_456);
        assert_eq!(report.errors(), 15);
        assert_eq!(report.timeouts, 4);
        assert_eq!([report.median, report.p99], [635_910, 12_500_000].map(Duration::from_nanos));
        assert!((report.requests_per_second - 12333.26).abs() < 1e-6);
    }

    #[test]
    fn no_report_is_no_success() {
        assert_eq!(parse("unable to connect to 10.77.1.100:80 Connection refused\n"), None);
    }
}

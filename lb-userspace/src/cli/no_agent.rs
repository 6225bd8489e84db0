//! The line of exit code 3: nobody answers, and what that means for the traffic.

use super::machine::PinnedSummary;
use crate::api::time_of;
use crate::output::age;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// One line: no agent, whether a data path forwards all the same, since when nobody checks health.
pub(super) fn line(
    socket: &Path,
    pin_dir: &Path,
    pinned: &io::Result<Option<PinnedSummary>>,
    now: SystemTime,
) -> String {
    let traffic = match pinned {
        Err(error) => {
            format!("whether a data path is pinned in {} cannot be seen: {error}", pin_dir.display())
        }
        Ok(None) => format!(
            "no data path is pinned in {}, so nothing is balanced; 'xlvs up' starts one",
            pin_dir.display()
        ),
        Ok(Some(pinned)) if pinned.interfaces.is_empty() => format!(
            "the data path pinned in {} is attached nowhere, so nothing is balanced; 'xlvs up' attaches it",
            pin_dir.display()
        ),
        Ok(Some(pinned)) => format!(
            "the data path pinned in {} still forwards on {}, and nobody has checked health {}; \
             'xlvs up' takes it over",
            pin_dir.display(),
            pinned.interfaces.join(", "),
            since(pinned.last_heartbeat, now)
        ),
    };
    format!("no agent answers on {}; {traffic}", socket.display())
}

fn since(last_heartbeat: Option<SystemTime>, now: SystemTime) -> String {
    match last_heartbeat {
        None => "for an unknown time".to_owned(),
        Some(then) => {
            let (then, now) = (time_of(then), time_of(now));
            format!("since {then} ({})", age(then, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PinnedSummary, line};
    use std::io;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn told(pinned: &io::Result<Option<PinnedSummary>>) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        line(Path::new("/run/s"), Path::new("/pins"), pinned, now)
    }

    #[test]
    fn says_since_when_nobody_checks_health() {
        let pinned = PinnedSummary {
            interfaces: vec!["eth0".into(), "eth1".into()],
            last_heartbeat: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_789_999_800)),
        };
        assert_eq!(
            told(&Ok(Some(pinned))),
            "no agent answers on /run/s; the data path pinned in /pins still forwards on eth0, eth1, and nobody has \
             checked health since 2026-09-21T14:10:00Z (3m 20s); 'xlvs up' takes it over"
        );
    }

    #[test]
    fn says_what_is_not_known() {
        let pinned = PinnedSummary { interfaces: vec!["eth0".into()], last_heartbeat: None };
        assert!(told(&Ok(Some(pinned))).contains("for an unknown time"));
        let refused = Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(told(&refused).contains("cannot be seen: permission denied"));
    }

    #[test]
    fn says_that_nothing_is_balanced() {
        assert!(told(&Ok(None)).contains("nothing is balanced"));
        let unattached = PinnedSummary { interfaces: Vec::new(), last_heartbeat: None };
        assert!(told(&Ok(Some(unattached))).contains("attached nowhere, so nothing is balanced"));
    }
}

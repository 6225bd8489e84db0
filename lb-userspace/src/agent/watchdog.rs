//! A sign of life for whoever started the agent. One that is frozen forwards on and says nothing wrong: what it said last stands,
//! also that it is ready. Who ends and replaces it is systemd (`WatchdogSec=`): the next agent on the same maps goes on where it was,
//! and no VIP has to move.

use sd_notify::NotifyState;

/// "I have come by", each second from the owner of all state; so a part that waits for it for ever is found, too.
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        // Nobody may listen any more.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

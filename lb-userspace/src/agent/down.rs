//! `xlvs down`: nothing attached, nothing pinned, with or without an agent.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::actor::Agent;
use super::netns;
use super::options::DownOptions;
use crate::api::{Failure, FailureKind};
use crate::control::{Client, ClientError, Report, Request};
use crate::dataplane::{Departing, pinned_netns, pinned_vips};
use crate::net::Netlink;

const PATIENCE: Duration = Duration::from_secs(20);
/// It takes the kernel some milliseconds, on a busy machine more.
const DETACHED_WITHIN: Duration = Duration::from_secs(2);

/// Ends the agent if one lives, and removes links and pins. Telling what it did on stderr.
///
/// # Errors
/// What could not be removed.
pub fn down(options: &DownOptions) -> Result<(), Failure> {
    let departing = Departing::of(&options.pin_dir);
    end(options)?;
    if !departing.are_gone(DETACHED_WITHIN) {
        eprintln!(
            "the kernel has not taken the program off its interfaces yet; somebody else holds on to it"
        );
    }
    Ok(())
}

fn end(options: &DownOptions) -> Result<(), Failure> {
    match Client::new(options.socket.clone(), PATIENCE).call(&Request::Down) {
        Ok(Report::Down { pid, kept }) => {
            eprintln!("the agent (process {pid}) detached, unpinned and ended");
            if let Some(kept) = kept {
                eprintln!("it kept {kept} connections and seats for the next 'xlvs up'");
            }
            return Ok(());
        }
        Ok(_) | Err(ClientError::NoAgent { .. }) => {}
        Err(error) => eprintln!("the agent did not do it ({error}); removing the pins without it"),
    }
    withdraw_vips(&options.pin_dir);
    let removed = remove(&options.pin_dir).map_err(|error| {
        Failure::new(FailureKind::Refused, format!("{}: {error}", options.pin_dir.display()))
    })?;
    if removed {
        eprintln!("detached and removed the pins in {}", options.pin_dir.display());
    } else {
        eprintln!("nothing is pinned in {}", options.pin_dir.display());
    }
    Ok(())
}

/// Takes away the VIPs of these pins that an agent put on an interface, before the kernel answers for them.
fn withdraw_vips(pin_dir: &Path) {
    let vips = pinned_vips(pin_dir);
    let namespace = pinned_netns(pin_dir).and_then(netns::find);
    let Some(namespace) = namespace.filter(|_| !vips.is_empty()) else { return };
    if let Err(error) = netns::enter(&namespace) {
        eprintln!("could not look for VIPs that xlvs had added: {error:#}");
        return;
    }
    let withdraw = async {
        let netlink = Netlink::open()?;
        let addresses = netlink.addresses().await?;
        for address in addresses.iter().filter(|address| address.ours && vips.contains(&address.ip)) {
            if netlink.remove_host_address(address.ip, address.ifindex).await? {
                eprintln!("took the VIP {} off its interface", address.ip);
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(error) = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(withdraw)) {
        eprintln!("could not take VIPs away that xlvs had added: {error:#}");
    }
}

impl Agent {
    /// VIPs first, since the kernel would answer for them; then links, then maps. Then nothing changes any more, and what the
    /// tables hold is kept; says how much that is, if it is wanted.
    ///
    /// # Errors
    /// What could not be removed.
    pub(super) async fn take_down(&mut self) -> Result<Option<u64>, Failure> {
        self.vips.withdraw().await;
        let dir = self.pins.dir();
        remove(dir)
            .map_err(|error| Failure::new(FailureKind::Refused, format!("{}: {error}", dir.display())))?;
        Ok(self.keep_connections())
    }
}

/// Removes links, which detaches, then everything else; says whether there was anything.
pub(super) fn remove(dir: &Path) -> io::Result<bool> {
    if !dir.exists() {
        return Ok(false);
    }
    for part in ["links", "stages", "maps"] {
        let part = dir.join(part);
        if part.exists() {
            for entry in fs::read_dir(&part)? {
                fs::remove_file(entry?.path())?;
            }
            fs::remove_dir(&part)?;
        }
    }
    fs::remove_dir(dir)?;
    Ok(true)
}

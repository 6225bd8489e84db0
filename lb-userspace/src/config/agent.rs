//! `[agent]`: the process, its files and its NICs.

use std::collections::HashSet;
use std::path::PathBuf;

use super::choice;
use super::model::{Agent, LogLevel, OnStop, Reload, VipOwner, XdpMode};
use super::name::{InterfaceName, NodeName};
use super::path;
use super::source::Reported;
use super::table::{Entry, Layered, quoted};

const SOCKET: &str = "/run/xlvs/xlvs.sock";
const PIN_DIR: &str = "/sys/fs/bpf/xlvs";
const STATE_DIR: &str = "/var/lib/xlvs";

/// `sun_path` without the terminating zero (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn read(table: Layered<'_>) -> Result<Agent, Reported> {
    let interfaces = table.read_or("interfaces", Vec::new(), interfaces);
    let xdp_mode = table.read_or("xdp_mode", XdpMode::Auto, choice::read);
    let vip_owner = table.read_or("vip_owner", VipOwner::External, choice::read);
    let socket = table.read_or("socket", SOCKET.into(), socket);
    let pin_dir = table.read_or("pin_dir", PIN_DIR.into(), |entry| path::absolute(entry, PIN_DIR));
    let state_dir = table.read_or("state_dir", STATE_DIR.into(), |entry| path::absolute(entry, STATE_DIR));
    let on_stop = table.read_or("on_stop", OnStop::Keep, choice::read);
    let snapshot = table.read_or("snapshot", true, Entry::boolean);
    let reload = table.read_or("reload", Reload::Command, choice::read);
    let node = table.read("node", NodeName::read);
    let log = table.read_or("log", LogLevel::Info, choice::read);
    Ok(Agent {
        interfaces: interfaces?,
        xdp_mode: xdp_mode?,
        vip_owner: vip_owner?,
        socket: socket?,
        pin_dir: pin_dir?,
        state_dir: state_dir?,
        on_stop: on_stop?,
        snapshot: snapshot?,
        reload: reload?,
        node: node?,
        log: log?,
    })
}

fn interfaces(entry: &Entry<'_>) -> Result<Vec<InterfaceName>, Reported> {
    let mut known = HashSet::new();
    let read = |item: Entry<'_>| {
        let name = InterfaceName::read(&item)?;
        if known.insert(name.clone()) {
            Ok(name)
        } else {
            Err(item.problem(format!("the interface {name} is given twice"), "remove one of the two"))
        }
    };
    let names: Vec<_> = entry.items("interfaces = [\"eth0\"]")?.into_iter().map(read).collect();
    names.into_iter().collect()
}

fn socket(entry: &Entry<'_>) -> Result<PathBuf, Reported> {
    let path = path::absolute(entry, SOCKET)?;
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        let what = format!("the path of a socket has at most {LONGEST_SOCKET_PATH} bytes, this one {length}");
        return Err(entry.problem(what, format!("write a shorter one, such as {}", quoted(SOCKET))));
    }
    Ok(path)
}

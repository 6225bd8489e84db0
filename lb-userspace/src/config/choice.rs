//! Values that are one of a few words. A word of a later version or of another load balancer is told
//! apart from a mistake.

use std::fmt;

use super::affinity::By;
use super::cluster::Sending;
use super::model::{
    Below, LogLevel, Mode, OnNoServer, OnStop, Protocol, Reload, Replicate, Scheduler, Then, Via, VipOwner,
    XdpMode,
};
use super::source::Reported;
use super::suggest::{alternatives, nearest};
use super::table::{Entry, quoted};
use crate::replication::backup::Scope;
use crate::replication::join::OnTimeout;

/// The words for the values of a type.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// The words in force.
    const OFFERED: &'static [(&'static str, Self)];
    /// Words that a later version will know.
    const LATER: &'static [&'static str] = &[];
    /// Words of LVS, keepalived and HAProxy: who calls it so, the word, and what it is here.
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[];

    fn word(self) -> &'static str {
        Self::OFFERED.iter().find(|(_, value)| *value == self).map_or("?", |(word, _)| *word)
    }
}

/// Reads one of the words.
pub(super) fn read<T: Choice>(entry: &Entry<'_>) -> Result<T, Reported> {
    let offered: Vec<&str> = T::OFFERED.iter().map(|(word, _)| *word).collect();
    let as_written: Vec<String> = offered.iter().map(|word| quoted(word)).collect();
    let as_written = alternatives(&as_written.iter().map(String::as_str).collect::<Vec<_>>());
    let word = entry.text(&format!("{} = {}", entry.key, quoted(offered[0])))?;
    if let Some((_, value)) = T::OFFERED.iter().find(|(offered, _)| *offered == word) {
        return Ok(*value);
    }
    let key = entry.key;
    if T::LATER.contains(&word) {
        let what = format!("{key} = {} is not offered yet", quoted(word));
        return Err(entry.problem(what, format!("write {as_written}")));
    }
    if let Some((who, _, ours)) = T::FOREIGN.iter().find(|(_, theirs, _)| theirs.eq_ignore_ascii_case(word)) {
        let remedy = match offered.contains(ours) {
            true => format!("write {key} = {}", quoted(ours)),
            false => format!("{} is not offered yet, write {as_written}", quoted(ours)),
        };
        return Err(entry.problem(format!("{who} it {}", quoted(word)), remedy));
    }
    let remedy = match nearest(word, offered.iter().copied()) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None => format!("write {as_written}"),
    };
    Err(entry.problem(format!("{key} = {} is not known", quoted(word)), remedy))
}

impl Choice for Mode {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("nat", Self::Nat), ("dr", Self::Dr), ("tunnel", Self::Tunnel), ("fullnat", Self::FullNat)];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("LVS calls", "masq", "nat"),
        ("LVS calls", "masquerade", "nat"),
        ("LVS calls", "masquerading", "nat"),
        ("LVS calls", "gate", "dr"),
        ("LVS calls", "gatewaying", "dr"),
        ("LVS calls", "route", "dr"),
        ("LVS calls", "droute", "dr"),
        ("LVS calls", "direct", "dr"),
        ("LVS calls", "ipip", "tunnel"),
        ("keepalived calls", "tun", "tunnel"),
        ("others call", "dnat", "nat"),
        ("others call", "dsr", "dr"),
        ("others call", "gue", "tunnel"),
        ("DPVS calls", "fnat", "fullnat"),
    ];
}

impl Choice for Scheduler {
    const OFFERED: &'static [(&'static str, Self)] = &[
        ("maglev", Self::Maglev),
        ("least", Self::Least),
        ("wrr", Self::Wrr),
        ("rr", Self::Rr),
        ("source", Self::Source),
        ("random", Self::Random),
    ];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("LVS calls", "mh", "maglev"),
        ("LVS calls", "lc", "least"),
        ("LVS calls", "wlc", "least"),
        ("LVS calls", "sed", "least"),
        ("LVS calls", "nq", "least"),
        ("LVS calls", "twos", "least"),
        ("LVS calls", "lblc", "locality-based least connections"),
        ("LVS calls", "lblcr", "locality-based least connections"),
        ("LVS calls", "sh", "source"),
        ("LVS calls", "dh", "destination hashing"),
        ("LVS calls", "fo", "weighted fail-over"),
        ("LVS calls", "ovf", "weighted overflow"),
        ("HAProxy calls", "roundrobin", "wrr"),
        ("HAProxy calls", "static-rr", "wrr"),
        ("HAProxy calls", "leastconn", "least"),
        ("HAProxy calls", "first", "the first with room"),
    ];
}

impl Choice for By {
    const OFFERED: &'static [(&'static str, Self)] = &[("source", Self::Source)];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] =
        &[("HAProxy calls", "src", "source"), ("others call", "client_ip", "source")];
}

impl Choice for Protocol {
    const OFFERED: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
    const LATER: &'static [&'static str] = &["sctp", "icmp"];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] =
        &[("HAProxy calls", "http", "tcp"), ("others call", "https", "tcp"), ("others call", "quic", "udp")];
}

impl Choice for OnNoServer {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("drop", Self::Drop), ("all", Self::All)];
}

impl Choice for Then {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("reset", Self::Reset), ("rehash", Self::Rehash)];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("HAProxy calls", "none", "keep"),
        ("HAProxy calls", "shutdown-sessions", "reset"),
        ("HAProxy calls", "redispatch", "rehash"),
    ];
}

impl Choice for Below {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("backup", Self::Backup), ("withdraw", Self::Withdraw)];
}

impl Choice for XdpMode {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("native", Self::Native), ("generic", Self::Generic)];
    const LATER: &'static [&'static str] = &["offload"];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("iproute2 calls", "xdpdrv", "native"),
        ("iproute2 calls", "xdpgeneric", "generic"),
        ("the kernel calls", "driver", "native"),
        ("the kernel calls", "drv", "native"),
        ("the kernel calls", "skb", "generic"),
    ];
}

impl Choice for VipOwner {
    const OFFERED: &'static [(&'static str, Self)] = &[("external", Self::External), ("xlvs", Self::Xlvs)];
    const LATER: &'static [&'static str] = &["keepalived", "bird", "hook"];
}

impl Choice for OnStop {
    const OFFERED: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("detach", Self::Detach)];
}

impl Choice for Reload {
    const OFFERED: &'static [(&'static str, Self)] = &[("command", Self::Command), ("watch", Self::Watch)];
}

impl Choice for Replicate {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("diverged", Self::Diverged), ("none", Self::None)];
}

impl Choice for Scope {
    const OFFERED: &'static [(&'static str, Self)] = &[("all", Self::All), ("backup", Self::Backup)];
}

impl Choice for Sending {
    const OFFERED: &'static [(&'static str, Self)] = &[("async", Self::Async), ("ack", Self::Ack)];
}

impl Choice for OnTimeout {
    const OFFERED: &'static [(&'static str, Self)] =
        &[("stay_backup", Self::StayBackup), ("serve", Self::Serve)];
}

impl Choice for LogLevel {
    const OFFERED: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("syslog calls", "warning", "warn"),
        ("syslog calls", "err", "error"),
        ("syslog calls", "notice", "info"),
    ];
}

impl Choice for Via {
    const OFFERED: &'static [(&'static str, Self)] = &[("vip", Self::Vip), ("address", Self::Address)];
}

/// The kinds of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthKind {
    Tcp,
    Http,
    Https,
    Udp,
    Dns,
    Grpc,
    Ping,
    Exec,
    None,
}

impl HealthKind {
    /// The protocol of the port that it asks; `None` if it asks none.
    pub(super) fn speaks(self) -> Option<Protocol> {
        match self {
            Self::Tcp | Self::Http | Self::Https | Self::Grpc => Some(Protocol::Tcp),
            Self::Udp | Self::Dns => Some(Protocol::Udp),
            Self::Ping | Self::Exec | Self::None => None,
        }
    }
}

impl Choice for HealthKind {
    const OFFERED: &'static [(&'static str, Self)] = &[
        ("tcp", Self::Tcp),
        ("http", Self::Http),
        ("https", Self::Https),
        ("udp", Self::Udp),
        ("dns", Self::Dns),
        ("grpc", Self::Grpc),
        ("ping", Self::Ping),
        ("exec", Self::Exec),
        ("none", Self::None),
    ];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("keepalived calls", "TCP_CHECK", "tcp"),
        ("keepalived calls", "HTTP_GET", "http"),
        ("keepalived calls", "SSL_GET", "https"),
        ("keepalived calls", "MISC_CHECK", "exec"),
        ("keepalived calls", "PING_CHECK", "ping"),
        ("keepalived calls", "DNS_CHECK", "dns"),
        ("keepalived calls", "UDP_CHECK", "udp"),
        ("HAProxy calls", "httpchk", "http"),
        ("HAProxy calls", "tcp-check", "tcp"),
        ("HAProxy calls", "ssl-hello-chk", "https"),
        ("others call", "off", "none"),
    ];
}

macro_rules! displayed_by_its_word {
    ($($choice:ty),*) => {
        $(impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        })*
    };
}
displayed_by_its_word!(
    Mode, Scheduler, Protocol, OnNoServer, Then, Below, XdpMode, VipOwner, OnStop, Reload, Replicate,
    LogLevel, Via
);

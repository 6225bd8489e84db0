//! Network interfaces, and the XDP program each carries.

use lb_common::wire::Tag;
use rtnetlink::packet_route::link::{
    InfoBond, InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, VlanProtocol,
    XdpAttached,
};

use super::Mac;
use super::netlink::{NetError, Netlink, collect, errno};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `None` where there is no Ethernet address (tunnels).
    pub mac: Option<Mac>,
    pub mtu: u32,
    /// Set up by the administrator (IFF_UP).
    pub up: bool,
    /// Has a carrier (IFF_LOWER_UP): a frame sent now can leave.
    pub carrier: bool,
    /// The driver's word for a virtual interface ("veth", "bond", "vlan", "bridge"); `None` for a physical one.
    pub kind: Option<String>,
    /// The interface this one is a port of, by index, and as what ("bond", "bridge", "vrf").
    pub master: Option<u32>,
    pub port_of: Option<String>,
    /// The interface below a VLAN, or a veth's peer, by index in its own namespace.
    pub lower: Option<u32>,
    /// A VLAN's tag.
    pub vlan: Option<Tag>,
    /// A bond's mode, by the kernel's name ("802.3ad").
    pub bond_mode: Option<String>,
    pub xdp: Option<AttachedXdp>,
}

/// An XDP program on an interface (`IFLA_XDP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedXdp {
    /// The kernel's id of the program, as `bpftool prog` shows it. With [`XdpMode::Multiple`], one of them.
    pub program_id: u32,
    pub mode: XdpMode,
}

/// How an XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver ("native").
    Driver,
    /// In the kernel's generic receive path.
    Generic,
    /// In the NIC.
    Hardware,
    /// Several at once, in different modes.
    Multiple,
    /// A mode newer than this program.
    Other(u8),
}

impl Link {
    /// Whether its traffic is a bond's or team's, so that it has none of its own.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.master.is_some() && matches!(self.port_of.as_deref(), Some("bond" | "team"))
    }

    /// A physical interface that is up.
    pub(crate) fn ethernet(index: u32, name: &str) -> Self {
        Self {
            index,
            name: name.into(),
            mac: Some([2, 0, 0, 0, 0, index as u8]),
            mtu: 1500,
            up: true,
            carrier: true,
            kind: None,
            master: None,
            port_of: None,
            lower: None,
            vlan: None,
            bond_mode: None,
            xdp: None,
        }
    }
}

impl Netlink {
    /// All interfaces of this namespace.
    pub async fn links(&self) -> Result<Vec<Link>, NetError> {
        let messages = collect("list the network interfaces", self.handle.link().get().execute()).await?;
        Ok(messages.into_iter().map(Link::from).collect())
    }

    /// The interface of this name; `None` when there is none.
    pub async fn link_by_name(&self, name: &str) -> Result<Option<Link>, NetError> {
        let attempted = format!("look up interface {name:?}");
        let answers = collect(&attempted, self.handle.link().get().match_name(name).execute()).await;
        first_if_any(answers)
    }

    /// The interface of this index; `None` when there is none.
    pub async fn link_by_index(&self, index: u32) -> Result<Option<Link>, NetError> {
        let attempted = format!("look up the interface with index {index}");
        let answers = collect(&attempted, self.handle.link().get().match_index(index).execute()).await;
        first_if_any(answers)
    }
}

fn first_if_any(answers: Result<Vec<LinkMessage>, NetError>) -> Result<Option<Link>, NetError> {
    match answers {
        Ok(messages) => Ok(messages.into_iter().next().map(Link::from)),
        Err(error) if error.is(errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            kind: None,
            master: None,
            port_of: None,
            lower: None,
            vlan: None,
            bond_mode: None,
            xdp: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.master = Some(index),
                LinkAttribute::Link(index) => link.lower = Some(index),
                LinkAttribute::Xdp(details) => link.xdp = attached_xdp(&details),
                LinkAttribute::LinkInfo(details) => {
                    for detail in details {
                        match detail {
                            LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                            LinkInfo::PortKind(kind) => link.port_of = Some(kind.to_string()),
                            LinkInfo::Data(InfoData::Vlan(details)) => link.vlan = tag(&details),
                            LinkInfo::Data(InfoData::Bond(details)) => link.bond_mode = bond_mode(&details),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}

fn tag(details: &[InfoVlan]) -> Option<Tag> {
    let id = details.iter().find_map(|detail| match detail {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })?;
    let service = details.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad));
    Tag::new(id, service)
}

fn bond_mode(details: &[InfoBond]) -> Option<String> {
    details.iter().find_map(|detail| match detail {
        InfoBond::Mode(mode) => Some(mode.to_string()),
        _ => None,
    })
}

fn attached_xdp(details: &[LinkXdp]) -> Option<AttachedXdp> {
    let attached = details.iter().find_map(|detail| match detail {
        LinkXdp::Attached(attached) => Some(*attached),
        _ => None,
    })?;
    let mode = match attached {
        XdpAttached::None => return None,
        XdpAttached::Driver => XdpMode::Driver,
        XdpAttached::SocketBuffer => XdpMode::Generic,
        XdpAttached::Hardware => XdpMode::Hardware,
        XdpAttached::Multiple => XdpMode::Multiple,
        XdpAttached::Other(number) => XdpMode::Other(number),
        _ => XdpMode::Other(u8::MAX),
    };
    // IFLA_XDP_PROG_ID is missing when there are several; then each mode names its own.
    let program_id = details.iter().find_map(|detail| match detail {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    })?;
    Some(AttachedXdp { program_id, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_and_the_program_are_read() {
        let driver = [LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7), LinkXdp::DrvProgId(7)];
        assert_eq!(attached_xdp(&driver), Some(AttachedXdp { program_id: 7, mode: XdpMode::Driver }));
        let several =
            [LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::DrvProgId(7), LinkXdp::SkbProgId(8)];
        assert_eq!(attached_xdp(&several), Some(AttachedXdp { program_id: 7, mode: XdpMode::Multiple }));
        assert_eq!(attached_xdp(&[LinkXdp::Attached(XdpAttached::None)]), None);
    }

    // Reading needs no privilege, and every namespace has a loopback interface.
    #[tokio::test]
    async fn the_loopback_interface_is_found_in_three_ways() {
        let netlink = Netlink::open().expect("netlink");
        let by_name = netlink.link_by_name("lo").await.expect("ask").expect("there is one");
        assert_eq!((by_name.name.as_str(), &by_name.kind, by_name.master), ("lo", &None, None));
        assert_eq!(netlink.link_by_index(by_name.index).await.expect("ask"), Some(by_name.clone()));
        assert!(netlink.links().await.expect("ask").contains(&by_name));
    }

    #[tokio::test]
    async fn an_interface_that_is_not_there_is_none() {
        let netlink = Netlink::open().expect("netlink");
        assert_eq!(netlink.link_by_name("no-such-if").await.expect("ask"), None);
        assert_eq!(netlink.link_by_index(u32::MAX >> 1).await.expect("ask"), None);
    }
}

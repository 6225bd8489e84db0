//! What is sent: frames of one kind, of so many flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xlvs_tests::datapath::world::{Side, mac_of};
use xlvs_tests::family::Family;
use xlvs_tests::packet::{Frame, Ipv4, Ipv6, Tcp};

use xlvs_tests::datapath::plan::{self, HEAD, Plan, VIP_PORT};

pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 100);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x100);
/// The first of the servers; the others follow.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 21);
pub const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x21);
/// Where NAT servers listen.
pub const SERVER_PORT: u16 = 8080;
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 200);
const STRANGER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x200);
/// The first of the clients: its last 16 bits are the flow's.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 3, 0, 0, 0, 0, 0, 0);

/// Flows of which none is met twice in a run.
const ENDLESS: u64 = (1 << 31) - 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sends {
    /// Data of stored connections, so many as a power of two.
    Established(u32),
    /// The servers' answers on them.
    Replies(u32),
    /// A SYN of another connection each time; the table is empty at first.
    Opens,
    /// The same, and the table is full of connections that were opened and never answered, as in a flood.
    OpensInFlood,
    /// Packets to an address that is no VIP.
    Stranger,
}

#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub family: Family,
    pub sends: Sends,
    /// How many services the connections are of, a power of two; more than one of clients over IPv4 alone.
    pub services: u16,
}

impl Scenario {
    /// Of one service.
    pub const fn new(family: Family, sends: Sends) -> Self {
        Self { family, sends, services: 1 }
    }

    pub fn name(&self) -> String {
        let family = if self.family == Family::V4 { "IPv4" } else { "IPv6" };
        let flows = |bits: u32| match bits {
            0 => "1 flow".to_owned(),
            10.. => format!("{} Ki flows in random order", 1_u32 << (bits - 10)),
            _ => format!("{} flows in random order", 1_u32 << bits),
        };
        let what = match self.sends {
            Sends::Established(bits) => format!("established, {}", flows(bits)),
            Sends::Replies(bits) => format!("replies of NAT servers, {}", flows(bits)),
            Sends::Opens => "new connection each packet, stored".to_owned(),
            Sends::OpensInFlood => "new connection each packet, table full of unanswered ones".to_owned(),
            Sends::Stranger => "not for a VIP".to_owned(),
        };
        format!("{family}: {what}")
    }

    /// How many connections must be stored before, as a power of two.
    pub fn stored(&self) -> Option<u32> {
        match self.sends {
            Sends::Established(bits) | Sends::Replies(bits) => Some(bits),
            _ => None,
        }
    }

    /// What is measured. Random orders differ from round to round.
    pub fn plan(&self, round: u64) -> Plan {
        let seed = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(2 * round + 1);
        match self.sends {
            Sends::Established(bits) => self.of(&self.data(), mask(bits), false, seed),
            Sends::Replies(bits) => self.of(&self.answer(), mask(bits), false, seed),
            // Each round where none has been.
            Sends::Opens | Sends::OpensInFlood => {
                self.of(&self.syn(), ENDLESS, true, (1 << 26) * (1 + round))
            }
            Sends::Stranger => self.of(&self.stranger(), mask(16), false, seed),
        }
    }

    /// Likewise, in the smallest frames that Ethernet has (IPv4): 60 bytes without the checksum of the cable.
    pub fn smallest(&self, round: u64) -> Plan {
        let tcp = Tcp::ack(PORT, VIP_PORT, SEQUENCE, 1).payload(*b"GET / ");
        let mut frame = framed(CLIENT.into(), VIP.into(), tcp);
        let length = frame.len() as u64;
        frame.resize(HEAD, 0);
        Plan { head: self.of(&frame, 0, false, 0).head, length, ..self.plan(round) }
    }

    /// Opens this many connections, as a power of two, one after the other.
    pub fn opening(&self, bits: u32) -> Plan {
        let Plan { head, length, .. } = self.of(&self.syn(), 0, true, 0);
        let shape = self.shape_of_clients();
        Plan {
            head,
            length,
            shape,
            mask: mask(bits),
            in_order: 1,
            state: u64::MAX,
            services: u64::from(self.services) - 1,
            always_undoes: 0,
            actions: [0; 8],
        }
    }

    fn of(&self, frame: &[u8], mask: u64, in_order: bool, state: u64) -> Plan {
        let head = Plan::head_of(frame);
        let shape = match (self.sends, self.family) {
            (Sends::Replies(_), Family::V4) => plan::REPLY_V4,
            (Sends::Replies(_), Family::V6) => plan::REPLY_V6,
            _ => self.shape_of_clients(),
        };
        let in_order = u64::from(in_order);
        Plan {
            head,
            length: frame.len() as u64,
            shape,
            mask,
            in_order,
            state,
            services: u64::from(self.services) - 1,
            always_undoes: 0,
            actions: [0; 8],
        }
    }

    fn shape_of_clients(&self) -> u64 {
        if self.family == Family::V4 { plan::V4 } else { plan::V6 }
    }

    fn syn(&self) -> Vec<u8> {
        let tcp = Tcp::syn(PORT, VIP_PORT, SEQUENCE).payload(PAYLOAD);
        self.of_client(self.family.choose(VIP, VIP6), tcp)
    }

    fn data(&self) -> Vec<u8> {
        let tcp = Tcp::ack(PORT, VIP_PORT, SEQUENCE, 1).payload(PAYLOAD);
        self.of_client(self.family.choose(VIP, VIP6), tcp)
    }

    fn stranger(&self) -> Vec<u8> {
        let tcp = Tcp::ack(PORT, VIP_PORT, SEQUENCE, 1).payload(PAYLOAD);
        self.of_client(self.family.choose(STRANGER, STRANGER6), tcp)
    }

    fn answer(&self) -> Vec<u8> {
        let tcp = Tcp::ack(SERVER_PORT, PORT, SEQUENCE, 1).payload(PAYLOAD);
        let (server, client) = (self.family.choose(SERVER, SERVER6), self.family.choose(CLIENT, CLIENT6));
        framed(server, client, tcp)
    }

    fn of_client(&self, to: IpAddr, tcp: Tcp) -> Vec<u8> {
        framed(self.family.choose(CLIENT, CLIENT6), to, tcp)
    }
}

/// The client of this flow.
pub fn client(family: Family, flow: u64) -> IpAddr {
    let (half, _) = plan::halves(flow);
    let v4 = u32::from(CLIENT) | u32::from(half);
    let v6 = u128::from(CLIENT6) | u128::from(half);
    family.choose(Ipv4Addr::from(v4), Ipv6Addr::from(v6))
}

/// Flow 0 as the driver writes it, so that the checksums, computed here once, are right for all.
const PORT: u16 = plan::halves(0).1;
const SEQUENCE: u32 = !((plan::halves(0).0 as u32) << 16 | PORT as u32);
const PAYLOAD: [u8; 32] = *b"GET / HTTP/1.1\r\nHost: bench.x\r\n\r\n".first_chunk::<32>().unwrap();

fn framed(from: IpAddr, to: IpAddr, tcp: Tcp) -> Vec<u8> {
    let (source, destination) = (mac_of(from), Side::Front.mac());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let packet = Ipv4 { identification: !plan::halves(0).0, ..Ipv4::new(from, to, tcp) };
            Frame::new(source, destination, packet).bytes()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Frame::new(source, destination, Ipv6::new(from, to, tcp)).bytes()
        }
        _ => Vec::new(),
    }
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

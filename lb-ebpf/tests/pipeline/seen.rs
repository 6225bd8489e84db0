//! What left, read back by the independent decoder.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use xlvs_tests::datapath::Native;
use xlvs_tests::datapath::world::Side;
use xlvs_tests::packet::decode;

/// Runs a frame and gives the verdict's name and the frame that is left.
pub fn run(native: &mut Native, side: Side, frame: &[u8]) -> (&'static str, Vec<u8>) {
    let (verdict, _, output) = native.push(side, frame);
    (verdict.name(), output)
}

/// A field by name, such as `ipv4.source`.
pub fn field(frame: &[u8], name: &str) -> String {
    let found = decode(frame).into_iter().find(|field| field.name == name);
    found.unwrap_or_else(|| panic!("the frame has no {name}")).value
}

/// Every field but those that any forwarding changes.
pub fn fields(frame: &[u8]) -> BTreeMap<String, String> {
    decode(frame).into_iter().map(|field| (field.name, field.value)).collect()
}

/// The real server a client's frame was sent to.
pub fn server(native: &mut Native, frame: &[u8]) -> Ipv4Addr {
    let (verdict, output) = run(native, Side::Front, frame);
    assert_eq!(verdict, "forwarded_nat");
    field(&output, "ipv4.destination").parse().expect("an IPv4 address")
}

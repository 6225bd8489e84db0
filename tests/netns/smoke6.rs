//! The short tests of `smoke`, over IPv6.

use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Layout};

use crate::site::Site;
use crate::smoke::{tcp, udp};

fn site(layout: Layout, delivery: Delivery) -> Site {
    Site { family: Family::V6, ..Site::build(layout, delivery, 2) }
}

#[test]
fn tcp_by_nat_through_two_interfaces_over_ipv6() {
    tcp(&site(Layout::TwoArm, Delivery::Nat), &["forwarded_nat", "forwarded_nat_reply"]);
}

#[test]
fn tcp_by_nat_through_one_interface_over_ipv6() {
    tcp(&site(Layout::OneArm, Delivery::Nat), &["forwarded_nat", "forwarded_nat_reply"]);
}

#[test]
fn tcp_by_direct_routing_through_one_interface_over_ipv6() {
    tcp(&site(Layout::OneArm, Delivery::DirectRouting), &["forwarded_dr"]);
}

#[test]
fn tcp_by_direct_routing_through_two_interfaces_over_ipv6() {
    tcp(&site(Layout::TwoArm, Delivery::DirectRouting), &["forwarded_dr"]);
}

#[test]
fn udp_by_nat_through_two_interfaces_over_ipv6() {
    udp(&site(Layout::TwoArm, Delivery::Nat), ["forwarded_nat", "forwarded_nat_reply"]);
}

#[test]
fn udp_by_nat_through_one_interface_over_ipv6() {
    udp(&site(Layout::OneArm, Delivery::Nat), ["forwarded_nat", "forwarded_nat_reply"]);
}

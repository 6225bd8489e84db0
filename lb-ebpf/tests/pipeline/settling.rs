//! A connection that settles is announced, once, if others are told of it.

use xlvs_tests::datapath::Native;
use xlvs_tests::datapath::cases::settling;

#[test]
fn each_connection_that_others_are_told_of_is_announced_once() {
    settling::check(&mut Native::new().unwrap()).unwrap();
}

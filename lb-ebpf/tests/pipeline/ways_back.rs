//! The agent is asked for the way to a client who was not heard.

use xlvs_tests::datapath::Native;
use xlvs_tests::datapath::cases::ways_back;

#[test]
fn the_agent_is_asked_for_ways_that_nobody_knows() {
    ways_back::check(&mut Native::new().unwrap()).unwrap();
}

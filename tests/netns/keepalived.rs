//! Debian's keepalived gives the VIPs, as `config/examples/keepalived.conf` has it: by what two directors say of themselves.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use xlvs_tests::topology::{Delivery, Director, Layout};

use crate::crowd::Crowd;
use crate::engine::{Engine, remove_addresses};
use crate::pair::{CONNECTIONS, Pair};
use crate::survival::MISS_TABLE_FOLLOWS;

#[test]
fn keepalived_moves_the_vip_to_a_director_that_goes_on_with_all_connections() {
    let [a, b] = Director::BOTH;
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 4);
    let servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1, 2, 3]));

    // Who is not ready gets nothing, whatever its priority.
    let (engine_a, engine_b) = (Engine::start(&pair, a), Engine::start(&pair, b));
    sleep(Duration::from_secs(1));
    assert!(!engine_a.has_vip() && !engine_b.has_vip(), "nobody is ready");
    let agent_a = pair.up(a);
    engine_a.wait_for_vip();
    let agent_b = pair.up(b);

    let mut crowd = Crowd::open(&pair.site, pair.site.target(), CONNECTIONS);
    pair.wait_held(b, CONNECTIONS);
    pair.reload("", &pair.site.web(&[(0, 1), (1, 7), (2, 1), (3, 7)]));
    sleep(MISS_TABLE_FOLLOWS);
    crowd.survived("other weights");
    assert!(!engine_b.has_vip());

    // The machine dies.
    let died = Instant::now();
    engine_a.kill();
    pair.die(a, agent_a);
    let moved = engine_b.wait_for_vip();
    println!("the VIP is at the other one after {} ms", moved.duration_since(died).as_millis());
    crowd.hear_the_servers(&servers);
    crowd.unbroken("the other director");

    // It boots: its addresses are gone, it gets what there is, and waits for its turn.
    remove_addresses(&pair, a);
    pair.installation(a).ok(&["down"]).unwrap();
    pair.site.topology.plug_in_again(a).unwrap();
    let engine_a = Engine::start(&pair, a);
    let agent_a = pair.up(a);
    pair.wait(a, "it is in sync", |_| pair.readiness(a) == "0\n");
    pair.wait_held(a, CONNECTIONS);
    sleep(Duration::from_secs(1));
    assert!(!engine_a.has_vip() && engine_b.has_vip(), "who came back does not take the VIP");

    // The one that has it leaves in order, and the connections go back.
    agent_b.daemon().signal(Signal::SIGTERM).unwrap();
    engine_a.wait_for_vip();
    assert!(!engine_b.has_vip());
    crowd.hear_the_servers(&servers);
    crowd.unbroken("back again");

    // A new agent on the same maps keeps the VIP all the while.
    agent_a.kill().unwrap();
    let agent_a = pair.up(a);
    for _ in 0..200 {
        assert!(engine_a.has_vip(), "a new agent; keepalived:\n{}", engine_a.daemon.said());
        sleep(Duration::from_millis(10));
    }
    crowd.unbroken("a new agent");
    drop((agent_a, agent_b));
}

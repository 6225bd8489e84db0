//! An installation of xlvs without an agent: its configuration is valid, its command line is run, nothing stays.

use xlvs_tests::agent::Installation;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology};

#[test]
fn the_configuration_it_writes_is_valid_and_a_wrong_one_is_told() {
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::Nat, 2)).unwrap();
    let installation = Installation::new(topology.director(), topology.director_interfaces(), "").unwrap();
    let service = |port, delivery| {
        let [first, second] = topology.servers() else { panic!("two servers") };
        ServiceText::new(&format!("web{port}"), port, delivery).server(first, 3).server(second, 1)
    };
    let health = "kind = \"tcp\"\ninterval = \"500ms\"\ntimeout = \"200ms\"";
    let (nat, routed) = (service(80, Delivery::Nat).health(health), service(81, Delivery::DirectRouting));
    installation.configure(format!("{nat}{routed}")).unwrap();
    installation.ok(&["check"]).unwrap();
    assert_eq!(installation.json(&["check"]).unwrap()["schema"], 1);
    installation.configure(service(80, Delivery::Nat).lines("no_such_key = 1")).unwrap();
    let said = installation.run(&["check"]).unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("no_such_key") || said.stdout.contains("no_such_key"), "{said:?}");
}

#[test]
fn without_an_agent_the_command_line_says_so() {
    let topology = Topology::build(&Plan::new(Layout::OneArm, Delivery::Nat, 1)).unwrap();
    let installation = Installation::new(topology.director(), topology.director_interfaces(), "").unwrap();
    let folder = installation.folder().to_owned();
    assert_eq!(installation.run(&["status"]).unwrap().code, 3);
    assert!(installation.ok(&["status"]).is_err());
    drop(installation);
    assert!(!folder.exists());
}

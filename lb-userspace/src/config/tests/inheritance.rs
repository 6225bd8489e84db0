//! What a service means, above all with `[defaults]`.

use super::super::{Health, ListenPort, Mode, OnNoServer, Probe, Service};
use super::{bare_service, model};

/// Where its first server is checked.
fn target(service: &Service) -> Option<String> {
    let server = &service.servers[0];
    service.check_target(server, server.addresses[0]).map(|target| target.to_string())
}

#[test]
fn a_service_overrides_the_defaults_key_by_key() {
    let defaults = "[defaults]\nmode = \"dr\"\non_no_server = \"drop\"\n\
         [defaults.health]\nkind = \"http\"\npath = \"/up\"\ninterval = \"5s\"\n\
         [defaults.server]\nweight = 7\nport = 8080\n";
    let text =
        format!("{defaults}{}", bare_service("mode = \"nat\"\nhealth = { interval = \"3s\" }", "weight = 2"));
    let service = &model(&text).services[0];
    assert_eq!((service.mode, service.on_no_server), (Mode::Nat, OnNoServer::Drop));
    let Health::Checked(check) = &service.health else { panic!("{service:?}") };
    let Probe::Http(http) = &check.probe else { panic!("{check:?}") };
    assert_eq!((http.path.as_str(), check.interval.as_secs()), ("/up", 3));
    let server = &service.servers[0];
    assert_eq!((server.weight.get(), server.port.map(u16::from)), (2, Some(8080)));
    assert_eq!(target(service), Some("10.77.2.21:8080".to_owned()));
}

/// `[defaults]` may serve services of all kinds: what has no meaning for one of them is left out.
#[test]
fn a_default_without_meaning_for_a_service_is_left_out() {
    let defaults = "[defaults.health]\npath = \"/up\"\n[defaults.server]\nport = 8080\n";
    let service = &model(&format!("{defaults}{}", bare_service("mode = \"dr\"", ""))).services[0];
    assert_eq!(service.servers[0].port, None);
    let Health::Checked(check) = &service.health else { panic!("{service:?}") };
    assert_eq!(check.probe, Probe::Tcp);
    assert_eq!(target(service), Some("10.77.2.21:80".to_owned()));
}

#[test]
fn a_fixed_port_may_stand_beside_any_port() {
    let text = bare_service("", "")
        + &bare_service("health = { kind = \"none\" }", "")
            .replace("\"web\"", "\"rest\"")
            .replace("= 80", "= \"any\"");
    let services = model(&text).services;
    assert_eq!(services[1].listening.ports, [ListenPort::Any]);
    assert_eq!(target(&services[1]), None);
}

#[test]
fn two_services_may_share_a_server_and_its_port() {
    let text = bare_service("", "port = 8080")
        + &bare_service("", "port = 8080").replace("\"web\"", "\"shop\"").replace("1.100", "1.101");
    assert_eq!(model(&text).services.len(), 2);
}

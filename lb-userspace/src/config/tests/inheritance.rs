//! What a service means, above all with `[defaults]`.

use super::super::{Health, Knock, ListenPort, Mode, OnNoServer, Probe, Service};
use super::{bare_service, model};

/// Where its first server is checked.
fn target(service: &Service) -> Option<String> {
    let server = &service.servers[0];
    service.check_target(server, server.addresses[0]).map(|target| target.to_string())
}

/// What a check of its first server asks the VIP.
fn knock(service: &Service) -> Option<(Knock, String)> {
    let server = &service.servers[0];
    let (knock, vips) = service.knocks(server, server.addresses[0])?;
    Some((knock, vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
}

#[test]
fn a_vip_is_asked_what_its_servers_are_known_to_answer() {
    let of = |port: &str, lines: &str| {
        let text = bare_service(lines, "").replace("port = 80", &format!("port = {port}"));
        model(&text).services[0].clone()
    };
    let at = |knock, port: u16| Some((knock, format!("10.77.1.100:{port}")));
    let syn = "mode = \"dr\"\nhealth = { kind = \"ping\" }";
    assert_eq!(knock(&of("[443, 80]", syn)), at(Knock::Syn, 80), "the lowest");
    assert_eq!(knock(&of("80", &syn.replace("ping\"", "ping\", via = \"address\""))), None);
    assert_eq!(knock(&of("80", &syn.replace("dr", "nat"))), None);
    let udp = "mode = \"dr\"\nprotocol = \"udp\"\nhealth = { kind = \"udp\", send = \"x\" }";
    assert_eq!(knock(&of("53", udp)), at(Knock::Check, 53));
    let both = udp.replace("protocol = \"udp\"", "protocol = [\"tcp\", \"udp\"]");
    assert_eq!(knock(&of("53", &both)), at(Knock::Syn, 53), "one of the two shows it");
    let ranges = udp.replace("kind", "port = 5060, kind");
    assert_eq!(knock(&of("[53, \"5000-5100\"]", &ranges)), at(Knock::Check, 5060));
    assert_eq!(knock(&of("\"any\"", &ranges)), at(Knock::Check, 5060));
    assert_eq!(knock(&of("53", &ranges)), None, "a port of the check's own");
    let ping = udp.replace("kind = \"udp\", send = \"x\"", "kind = \"ping\"");
    assert_eq!(knock(&of("53", &ping)), None, "nobody knows what it answers");
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

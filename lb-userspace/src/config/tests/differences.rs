//! How the difference of two configurations is told.

use super::super::diff;
use super::{bare_service, model};

#[test]
fn changes_are_told_field_by_field() {
    let old = model(
        &(bare_service("", "weight = 3")
            + &bare_service("", "").replace("\"web\"", "\"old\"").replace("= 80", "= 81")),
    );
    let new = bare_service("mode = \"dr\"\nhealth = { kind = \"http\", path = \"/up\" }", "weight = 1")
        + "[[service.server]]\nname = \"rs2\"\naddress = \"10.77.2.22\"\n"
        + &bare_service("", "port = 8080").replace("\"web\"", "\"new\"").replace("= 80\n", "= 82\n")
        + "[agent]\nlog = \"debug\"\n[datapath]\nflow_table_size = 65536\n";
    let new = model(&new);
    let lines = |old, new| diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        lines(&old, &new),
        [
            "~ [agent] log info -> debug",
            "~ [datapath] flow_table_size 1048576 -> 65536 (takes effect when the agent is started anew)",
            "~ service web mode nat -> dr",
            "~ service web health.kind tcp -> http",
            "~ service web health.via address -> vip",
            "~ service web health.path - -> /up",
            "~ service web health.method - -> GET",
            "~ service web health.expect - -> 200-399",
            "~ server web/rs1 weight 3 -> 1",
            "+ server web/rs2 10.77.2.22 weight 1",
            "+ service new 10.77.1.100:82 tcp, servers: 1",
            "- service old 10.77.1.100:81 tcp",
        ]
    );
    assert!(lines(&new, &old).contains(&"- server web/rs2 10.77.2.22".to_owned()));
    let json = serde_json::to_value(diff(&old, &new)).expect("changes are plain data");
    assert_eq!(
        json[8],
        serde_json::json!({"change": "server_changed", "service": "web", "server": "rs1",
            "key": "weight", "from": "3", "to": "1"})
    );
}

#[test]
fn lists_are_told_as_lists_whatever_their_order() {
    let lists = |vips: &str, ports: &str, addresses: &str| {
        let text = bare_service("protocol = [\"udp\", \"tcp\"]\nhealth = { port = 80 }", "");
        let text = text.replace("\"10.77.1.100\"", vips).replace("= 80\n", &format!("= {ports}\n"));
        model(&text.replace("\"10.77.2.21\"", addresses))
    };
    let old = lists("\"10.77.1.100\"", "80", "\"10.77.2.21\"");
    let dual = "[\"2001:db8:2::21\", \"10.77.2.21\"]";
    let new = lists("[\"2001:db8::1\", \"10.77.1.100\"]", "[\"8000-8099\", 80]", dual);
    let lines: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "~ service web vip 10.77.1.100 -> 10.77.1.100, 2001:db8::1",
            "~ service web port 80 -> 80, 8000-8099",
            "~ server web/rs1 address 10.77.2.21 -> 10.77.2.21, 2001:db8:2::21",
        ]
    );
    let turned = lists("[\"10.77.1.100\", \"2001:DB8::1\"]", "[80, \"8000 - 8099\"]", dual);
    assert_eq!(diff(&new, &turned), []);
    let renamed = lists("[\"2001:db8::1\", \"10.77.1.100\"]", "[\"8000-8099\", 80]", dual).services.remove(0);
    assert_eq!(
        renamed.listening.to_string(),
        "10.77.1.100, 2001:db8::1 port 80, 8000-8099 tcp, udp",
        "as an added service is told"
    );
}

#[test]
fn checks_that_are_switched_off_are_one_change() {
    let (on, off) = (model(&bare_service("", "")), model(&bare_service("health = { kind = \"none\" }", "")));
    let lines: Vec<_> = diff(&on, &off).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["~ service web health.kind tcp -> none"]);
}

#[test]
fn who_picks_and_who_comes_back_is_told_key_by_key() {
    let with = |service: &str, server: &str| model(&bare_service(service, server));
    let old = with("scheduler = \"wrr\"", "");
    let new = with(
        "scheduler = \"least\"\naffinity = { by = \"source\", prefix_v6 = 64, group = \"shop\" }",
        "max_connections = 7",
    );
    let lines: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "~ service web scheduler wrr -> least",
            "~ service web affinity none -> by source",
            "~ service web affinity.group - -> shop",
            "~ service web affinity.prefix_v4 - -> 32",
            "~ service web affinity.prefix_v6 - -> 64",
            "~ service web affinity.timeout - -> 5m",
            "~ service web affinity.on_server_down - -> rehash",
            "~ server web/rs1 max_connections - -> 7",
        ]
    );
}

//! Links, addresses and the next-hop tracker against the kernel, in namespaces made for each test.
//!
//!     cargo test -p lb-userspace --features privileged --test net_kernel
//!
//! Each test stands in a director's namespace with two veth pairs to a server's: d0 10.91.0.1/24 – s0 10.91.0.2/24 and
//! d1 10.92.0.1/24 – s1 10.92.0.2/24.

#[path = "net_kernel/lab.rs"]
mod lab;
#[path = "net_kernel/watcher.rs"]
mod watcher;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lab::Lab;
use lb_userspace::net::{Mac, Netlink, NextHop, View};
use watcher::Watcher;

const ON_LINK: &str = "10.91.0.2";
const OTHER_WAY: &str = "10.92.0.2";
const BEHIND: &str = "10.99.0.9";
const ON_LINK_V6: &str = "fd91::2";

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn targets(list: &[&str]) -> BTreeSet<IpAddr> {
    list.iter().map(|target| address(target)).collect()
}

fn has(target: &str, mac: Mac) -> impl Fn(&View) -> bool {
    move |view| view.hops.get(&address(target)).is_some_and(|hop| hop.mac == mac)
}

const SOON: Duration = Duration::from_secs(2);

#[test]
fn next_hops_are_found_on_the_link_and_behind_a_gateway() {
    let lab = Lab::new();
    lab.director(&format!("route add 10.99.0.0/24 via {ON_LINK}"));
    lab.director(&format!("route add default via {OTHER_WAY}"));
    let (mac0, mac1) = (lab.server_mac("s0"), lab.server_mac("s1"));
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[ON_LINK, BEHIND, ON_LINK_V6])).await;
        let first = watcher.look();
        assert!(first.addresses.contains(address("10.91.0.1")), "the first view has the addresses");
        let link =
            |name| first.links.values().find(|link| link.name == name).expect("the first view has the links");
        let (d0, d1) = (link("d0").index, link("d1").index);

        watcher.until("resolve IPv4", SOON, |view| view.hops.len() >= 2 && view.gateway_v4.is_some()).await;
        // Most of it is duplicate address detection of the fresh interface's own link-local address.
        watcher.until("resolve IPv6", SOON * 3, |view| view.hops.len() == 3).await;
        let view = watcher.look();
        let hop = |mac, ifindex, via| NextHop { mac, ifindex, via: address(via) };
        assert_eq!(view.hops[&address(ON_LINK)], hop(mac0, d0, ON_LINK));
        assert_eq!(view.hops[&address(BEHIND)], hop(mac0, d0, ON_LINK));
        assert_eq!(view.hops[&address(ON_LINK_V6)], hop(mac0, d0, ON_LINK_V6));
        assert_eq!(view.gateway_v4, Some(hop(mac1, d1, OTHER_WAY)));
        assert_eq!(view.gateway_v6, None);
        assert!(view.troubles.is_empty(), "{:?}", view.troubles);
        watcher.during(Duration::from_secs(1)).await;
        let managed = lab.neighbours().lines().filter(|line| line.contains("managed")).count();
        assert_eq!(managed, 3, "the kernel is asked to keep them fresh:\n{}", lab.neighbours());
    });
}

#[test]
fn flushed_neighbours_come_back_and_no_hop_is_lost_meanwhile() {
    let lab = Lab::new();
    let mac = lab.server_mac("s0");
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[ON_LINK, OTHER_WAY])).await;
        watcher.until("resolve", SOON, |view| view.hops.len() == 2).await;
        let in_table =
            || lab.neighbours().lines().any(|line| line.starts_with(ON_LINK) && line.contains("lladdr"));
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            lab.director("neigh flush all");
            let flushed = Instant::now();
            while !in_table() {
                assert!(flushed.elapsed() < Duration::from_secs(1), "not in the kernel's table again");
                watcher.during(Duration::from_millis(5)).await;
            }
            slowest = slowest.max(flushed.elapsed());
            assert_eq!(watcher.look().hops[&address(ON_LINK)].mac, mac);
        }
        println!("slowest of 20 recoveries: {slowest:?}");
    });
}

#[test]
fn a_peer_that_changes_its_mac_silently_is_found_again() {
    let lab = Lab::new();
    let before = lab.server_mac("s0");
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[ON_LINK])).await;
        watcher.until("resolve", SOON, has(ON_LINK, before)).await;
        for last in 1..=5u8 {
            watcher.during(Duration::from_millis(u64::from(last) * 170)).await; // at another phase of the rhythm
            lab.server(&format!("link set s0 address 02:00:00:00:00:{last:02x}"));
            watcher.until("find the new MAC", SOON, has(ON_LINK, [2, 0, 0, 0, 0, last])).await;
        }
    });
}

#[test]
fn a_replaced_route_is_followed_and_a_vanished_one_is_not() {
    let lab = Lab::new();
    lab.director(&format!("route add 10.99.0.0/24 via {ON_LINK}"));
    let (mac0, mac1) = (lab.server_mac("s0"), lab.server_mac("s1"));
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[BEHIND])).await;
        watcher.until("resolve", SOON, has(BEHIND, mac0)).await;

        lab.director(&format!("route replace 10.99.0.0/24 via {OTHER_WAY}"));
        let took = watcher.until("follow the route", SOON, has(BEHIND, mac1)).await;
        assert!(took < Duration::from_millis(500), "{took:?}");

        lab.director("route del 10.99.0.0/24");
        watcher.until("notice the loss", SOON, |view| view.troubles.contains_key(&address(BEHIND))).await;
        assert!(has(BEHIND, mac1)(&watcher.look()), "kept");

        lab.director("route add blackhole 10.99.0.0/24");
        watcher.during(Duration::from_millis(300)).await;
        assert!(has(BEHIND, mac1)(&watcher.look()), "kept");

        lab.director(&format!("route replace 10.99.0.0/24 via {ON_LINK}"));
        watcher.until("take the route that came back", SOON, has(BEHIND, mac0)).await;
        assert!(watcher.look().troubles.is_empty());
    });
}

#[test]
fn next_hop_objects_and_rules_are_followed() {
    let lab = Lab::new();
    lab.director(&format!("nexthop add id 7 via {ON_LINK} dev d0"));
    lab.director("route add 10.99.0.0/24 nhid 7");
    lab.director(&format!("route add 10.99.0.0/24 via {OTHER_WAY} table 77"));
    let (mac0, mac1) = (lab.server_mac("s0"), lab.server_mac("s1"));
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[BEHIND])).await;
        watcher.until("resolve through the object", SOON, has(BEHIND, mac0)).await;
        lab.director(&format!("nexthop replace id 7 via {OTHER_WAY} dev d1"));
        watcher.until("follow the object", SOON, has(BEHIND, mac1)).await;
        lab.director(&format!("nexthop replace id 7 via {ON_LINK} dev d0"));
        watcher.until("follow it back", SOON, has(BEHIND, mac0)).await;
        lab.director("rule add to 10.99.0.0/24 table 77");
        watcher.until("follow the rule", SOON, has(BEHIND, mac1)).await;
        lab.director("rule del to 10.99.0.0/24 table 77");
        watcher.until("follow its end", SOON, has(BEHIND, mac0)).await;
        lab.director("nexthop flush");
        watcher.until("notice the loss", SOON, |view| view.troubles.contains_key(&address(BEHIND))).await;
        assert!(has(BEHIND, mac0)(&watcher.look()), "kept");
    });
}

#[test]
fn a_link_that_goes_down_or_away_is_told_and_its_hops_are_kept() {
    let lab = Lab::new();
    let mac = lab.server_mac("s0");
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[ON_LINK])).await;
        watcher.until("resolve", SOON, has(ON_LINK, mac)).await;
        let link = |view: &View| view.links.values().find(|link| link.name == "d0").cloned();

        lab.server("link set s0 down");
        watcher.until("see the carrier go", SOON, |view| link(view).is_some_and(|link| !link.carrier)).await;
        watcher.during(Duration::from_secs(1)).await;
        lab.server("link set s0 up");
        watcher.until("see it come back", SOON, |view| link(view).is_some_and(|link| link.carrier)).await;

        lab.director("link set d0 address 02:00:00:00:0d:00");
        let own = [2, 0, 0, 0, 0xd, 0];
        watcher
            .until("see our own MAC change", SOON, |view| link(view).is_some_and(|d0| d0.mac == Some(own)))
            .await;

        lab.director("link set d0 down");
        watcher.until("see it set down", SOON, |view| link(view).is_some_and(|link| !link.up)).await;
        lab.director("link del d0");
        watcher.until("see it go", SOON, |view| link(view).is_none()).await;
        assert!(has(ON_LINK, mac)(&watcher.look()), "kept");
    });
}

#[test]
fn static_entries_are_used_and_stay_static() {
    let lab = Lab::new();
    lab.director("neigh add 10.91.0.50 lladdr 02:00:00:00:00:50 nud permanent dev d0");
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&["10.91.0.50"])).await;
        watcher.until("take it", SOON, has("10.91.0.50", [2, 0, 0, 0, 0, 0x50])).await;
        watcher.during(Duration::from_secs(3)).await;
        let table = lab.neighbours();
        let entry = table.lines().find(|line| line.starts_with("10.91.0.50")).expect("still there");
        assert!(entry.contains("PERMANENT") && !entry.contains("managed"), "{entry}");
    });
}

#[test]
fn targets_come_and_go_at_run_time() {
    let lab = Lab::new();
    lab.run(async || {
        let (tracker, mut watcher) = Watcher::start(targets(&[ON_LINK])).await;
        watcher.until("resolve the first", SOON, |view| view.hops.contains_key(&address(ON_LINK))).await;
        tracker.set_targets(targets(&[ON_LINK, OTHER_WAY]));
        watcher.until("resolve the second", SOON, |view| view.hops.contains_key(&address(OTHER_WAY))).await;
        tracker.set_targets(targets(&[OTHER_WAY]));
        watcher.no_longer_wanted = targets(&[ON_LINK]);
        watcher.until("drop the first", SOON, |view| !view.hops.contains_key(&address(ON_LINK))).await;
        watcher.during(Duration::from_millis(200)).await;
        let table = lab.neighbours();
        let managed =
            |target: &str| table.lines().any(|line| line.starts_with(target) && line.contains("managed"));
        assert!(!managed(ON_LINK) && managed(OTHER_WAY), "{table}");
    });
}

/// A reload waits for the ways of its new servers, however many others there are.
#[test]
fn a_target_that_comes_to_thousands_does_not_wait_until_all_are_read_again() {
    let lab = Lab::new();
    lab.director(&format!("route add 10.99.0.0/16 via {ON_LINK}"));
    let mut wanted: BTreeSet<IpAddr> =
        (0..5000u16).map(|number| [10, 99, (number >> 8) as u8, number as u8].into()).collect();
    lab.run(async || {
        let began = Instant::now();
        let (tracker, mut watcher) = Watcher::start(wanted.clone()).await;
        let reading_all = began.elapsed();
        watcher.until("resolve all", SOON * 5, |view| view.hops.len() == wanted.len()).await;
        // Notices have all read again, over and over.
        lab.director(&format!("route add 10.98.0.0/24 via {ON_LINK}"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let new = address("10.99.200.1");
        wanted.insert(new);
        tracker.set_targets(wanted.clone());
        let known = |view: &View| view.hops.contains_key(&new);
        let took = watcher.until("resolve the new one", SOON, known).await;
        // It may come while a round is under way, and no later.
        assert!(took < reading_all * 2, "{took:?}, all are read in {reading_all:?}");
    });
}

#[test]
fn a_silent_target_is_a_trouble_and_no_hop() {
    let lab = Lab::new();
    lab.run(async || {
        let silent = "10.91.0.77";
        let (_tracker, mut watcher) = Watcher::start(targets(&[silent, "10.200.0.1"])).await;
        let says = |view: &View, target, text: &str| {
            view.troubles.get(&address(target)).is_some_and(|trouble| trouble.contains(text))
        };
        watcher.until("no route", SOON, |view| says(view, "10.200.0.1", "unreachable")).await;
        let limit = Duration::from_secs(5);
        watcher.until("silence", limit, |view| says(view, silent, "does not answer")).await;
        assert!(watcher.look().hops.is_empty());
        lab.server(&format!("addr add {silent}/32 dev s0"));
        watcher.until("it speaks", limit, |view| view.hops.contains_key(&address(silent))).await;
    });
}

#[test]
fn notices_lost_in_a_flood_are_made_up_for() {
    let lab = Lab::new();
    lab.director(&format!("route add 10.99.0.0/24 via {ON_LINK}"));
    let (mac0, mac1) = (lab.server_mac("s0"), lab.server_mac("s1"));
    lab.run(async || {
        let (_tracker, mut watcher) = Watcher::start(targets(&[BEHIND])).await;
        watcher.until("resolve", SOON, has(BEHIND, mac0)).await;
        // 100,000 notices while this thread, which is the tracker's too, does not read: its receive buffer overflows,
        // and those of the last two lines are lost.
        let mut lines: String = (0..50_000u32)
            .map(|number| {
                let ip = format!("10.{}.{}.{}", 100 + (number >> 16), (number >> 8) & 255, number & 255);
                format!("route add {ip}/32 via {OTHER_WAY}\nroute del {ip}/32\n")
            })
            .collect();
        lines += &format!("route replace 10.99.0.0/24 via {OTHER_WAY}\naddr add 10.91.0.200/32 dev d0\n");
        let batch = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(batch.path(), lines).expect("write");
        lab.director(&format!("-batch {}", batch.path().display()));
        let has_address = |view: &View| view.addresses.contains(address("10.91.0.200"));
        watcher.until("catch up", 5 * SOON, |view| has(BEHIND, mac1)(view) && has_address(view)).await;
    });
}

#[test]
fn a_vip_is_put_on_an_interface_and_taken_off() {
    let lab = Lab::new();
    lab.run(async || {
        let netlink = Netlink::open().expect("open");
        let d0 = netlink.link_by_name("d0").await.expect("ask").expect("there");
        assert_eq!((d0.kind.as_deref(), d0.up, d0.mtu), (Some("veth"), true, 1500));
        assert_eq!(d0.xdp, None);
        for vip in ["10.91.0.100", "fd91::100"] {
            let vip = address(vip);
            assert!(!netlink.addresses().await.expect("ask").contains(vip));
            assert!(!netlink.remove_host_address(vip, d0.index).await.expect("not there"));
            assert!(netlink.add_host_address(vip, d0.index).await.expect("add"));
            assert!(!netlink.add_host_address(vip, d0.index).await.expect("there already"));
            let addresses = netlink.addresses().await.expect("ask");
            let holder = *addresses.holders(vip).next().expect("held");
            assert_eq!((holder.ifindex, holder.tentative), (d0.index, false));
            assert_eq!(holder.prefix_len, if vip.is_ipv4() { 32 } else { 128 });
            let primary = addresses.primary(d0.index, vip.is_ipv6()).expect("has one").ip;
            assert_eq!(primary, address(if vip.is_ipv4() { "10.91.0.1" } else { "fd91::1" }));
            assert!(netlink.remove_host_address(vip, d0.index).await.expect("remove"));
            assert!(!netlink.addresses().await.expect("ask").contains(vip));
        }
        let error =
            netlink.add_host_address(address("10.91.0.100"), 4711).await.expect_err("no such interface");
        assert!(error.to_string().contains("add 10.91.0.100/32 to the interface with index 4711"), "{error}");
    });
}

#[test]
fn ports_of_a_bridge_name_it() {
    let lab = Lab::new();
    lab.director("link add br0 type bridge");
    lab.director("link set d1 master br0");
    lab.run(async || {
        let netlink = Netlink::open().expect("open");
        let find = async |name: &str| netlink.link_by_name(name).await.expect("ask").expect("there");
        let (bridge, port) = (find("br0").await, find("d1").await);
        assert_eq!(bridge.kind.as_deref(), Some("bridge"));
        assert_eq!((port.master, port.port_of.as_deref()), (Some(bridge.index), Some("bridge")));
    });
}

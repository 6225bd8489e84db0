//! Who puts the VIP on the host.

use xlvs_tests::topology::{Delivery, Layout, Plan, VIP};

use crate::run::Run;
use crate::site::Site;
use crate::survival::newcomers;

fn without_vip(settings: &str) -> Site {
    let plan = Plan { vip_on_director: false, ..Plan::new(Layout::TwoArm, Delivery::Nat, 2) };
    Site::of_plan(&plan, settings)
}

fn has(site: &Site, address: &str) -> bool {
    let addresses = site.director().ip_json(&["address", "show"]).unwrap();
    addresses.to_string().contains(&format!("\"{address}\""))
}

fn has_vip(site: &Site) -> bool {
    has(site, &VIP.to_string())
}

#[test]
fn a_missing_vip_is_told_with_the_command_that_mends_it() {
    let site = without_vip("");
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let run = Run::start(&site);
    let command = format!("ip address add {VIP}/32 dev eth0");
    let said = run.agent().daemon().said();
    assert!(said.contains(&command), "{said}");
    let warnings = run.status()["warnings"].to_string();
    assert!(warnings.contains(&command), "{warnings}");
    assert!(!has_vip(&site));

    site.director().ip(command.strip_prefix("ip ").unwrap()).unwrap();
    newcomers(&site);
    site.installation.reload().unwrap();
    let warnings = run.status()["warnings"].to_string();
    assert!(!warnings.contains(&command), "it is mended: {warnings}");
}

#[test]
fn the_agent_adds_the_vip_and_takes_it_away() {
    let site = without_vip("vip_owner = \"xlvs\"");
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let mut run = Run::start(&site);
    assert!(has_vip(&site));
    newcomers(&site);
    run.kill();
    assert!(has_vip(&site), "the data path forwards on, so the address stays");
    newcomers(&site);
    run.up();
    assert!(has_vip(&site));
    run.down();
    assert!(!has_vip(&site));

    run.up();
    const OTHER: &str = "10.77.1.101";
    site.reload(site.web_of(&[0, 1]).to_string().replace(&VIP.to_string(), OTHER));
    assert!(!has_vip(&site) && has(&site, OTHER), "the addresses follow the file");
    site.reload(site.web_of(&[0, 1]));
    assert!(has_vip(&site) && !has(&site, OTHER), "and back");
    newcomers(&site);
}

#[test]
fn without_an_agent_down_takes_away_what_one_had_added() {
    for vip_on_director in [false, true] {
        let plan = Plan { vip_on_director, ..Plan::new(Layout::TwoArm, Delivery::Nat, 2) };
        let site = Site::of_plan(&plan, "vip_owner = \"xlvs\"");
        let _servers = site.serve_all();
        site.configure(site.web_of(&[0, 1]));
        site.installation.up().unwrap().kill().unwrap();
        site.installation.up().unwrap().kill().unwrap();
        site.installation.ok(&["down"]).unwrap();
        assert_eq!(has_vip(&site), vip_on_director, "an administrator's address stays, ours goes");
    }
}

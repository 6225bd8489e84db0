//! How often servers said "I have no such connection": the resets that they sent, by whom they were for. Who is sent to another
//! server than his own hears just that, whatever becomes of it on the way back.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Topology;
use super::cuts::nft;
use crate::namespace::Namespace;
use crate::tools;

const TABLE: &str = "refusals";

impl Topology {
    /// From now on the resets of every server to a network of clients (`10.78.0.0/24`) are counted; counted anew if asked again.
    pub fn count_resets_to(&self, network: &str) -> Result<()> {
        let rules = format!(
            "table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\nchain out {{\n type filter hook output priority 0; \
             policy accept;\n ip daddr {network} tcp flags & rst == rst counter\n }}\n}}\n"
        );
        self.servers().iter().try_for_each(|server| nft(&server.namespace, &rules))
    }

    /// How many there were since, over all servers.
    pub fn resets_counted(&self) -> Result<u64> {
        self.servers().iter().map(|server| counted(&server.namespace)).sum()
    }
}

fn counted(server: &Namespace) -> Result<u64> {
    let mut command = server.command("nft")?;
    command.args(["-j", "list", "table", "ip", TABLE]);
    let shown: Value = serde_json::from_str(&tools::output(&mut command)?).context("nft printed no JSON")?;
    let all = shown["nftables"].as_array().context("nft lists nothing")?;
    let rule = all.iter().find_map(|item| item.get("rule")).context("nft lists no rule")?;
    let parts = rule["expr"].as_array().context("a rule of nothing")?;
    let packets = parts.iter().find_map(|part| part.get("counter")?.get("packets")?.as_u64());
    packets.with_context(|| format!("no counter in {rule}"))
}

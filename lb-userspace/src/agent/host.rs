//! `xlvs check --host`: does this configuration fit this host? Looks, and changes nothing.

use std::path::Path;

use super::attachment;
use super::membership;
use super::preflight::{self, Finding};
use crate::api::Problem;
use crate::config::Model;
use crate::net::{NetError, Netlink};

/// What does not fit.
#[must_use]
pub fn host_problems(config: &Path, model: &Model) -> Vec<Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let findings = match runtime {
        Ok(runtime) => runtime.block_on(findings(model)).unwrap_or_else(|error| {
            vec![Finding { what: error.to_string(), remedy: "check without --host".to_owned() }]
        }),
        Err(error) => vec![Finding { what: error.to_string(), remedy: "check without --host".to_owned() }],
    };
    findings
        .into_iter()
        .map(|Finding { what, remedy }| Problem {
            file: config.to_owned(),
            line: None,
            column: None,
            what,
            remedy,
        })
        .collect()
}

async fn findings(model: &Model) -> Result<Vec<Finding>, NetError> {
    let netlink = Netlink::open()?;
    let (links, addresses) = (netlink.links().await?, netlink.addresses().await?);
    let names: Vec<String> = model.agent.interfaces.iter().map(|name| name.as_str().to_owned()).collect();
    let pinned = crate::dataplane::linked(&model.agent.pin_dir);
    let mut findings = Vec::new();
    let mut fit = Vec::new();
    match attachment::find(&names, &links, &pinned) {
        Ok(attachments) => {
            findings.extend(attachment::keep_tags(&attachments, &links).err());
            fit = attachments.into_iter().map(|attachment| attachment.named).collect();
        }
        Err(finding) => findings.push(finding),
    }
    findings.extend(preflight::lock_out(model, &addresses, &links).err());
    findings.extend(preflight::means_of_checks(model).err());
    findings.extend(membership::findings(model));
    findings.extend(preflight::missing_vips(model, &addresses, &fit));
    Ok(findings)
}

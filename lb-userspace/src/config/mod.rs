//! The configuration: TOML in, a validated [`Model`] out, or every mistake at once.
//!
//! [`load`] reads the file and those it includes; [`load_str`] is the same without any file. From there on
//! everything is pure. A text becomes a tree that knows its places (`syntax`, `source`), tables are read
//! key by key (`table`, with the known keys in `vocabulary`), each section by a module of its name,
//! and what is wrong between sections is found by `consistency`. A reader that fails has always reported
//! why, which its error type `source::Reported` proves; so all of them can go on.

use std::path::{Path, PathBuf};

mod access;
mod address;
mod affinity;
mod agent;
mod agent_check;
mod choice;
mod cluster;
mod consistency;
mod datapath;
mod diff;
pub mod duration;
mod endpoint;
mod fullnat;
mod health;
mod include;
mod limits;
mod listed;
mod listener;
mod model;
mod name;
mod parting;
mod path;
mod port;
mod prefix;
mod probe;
mod problem;
mod quic;
mod replicate;
mod server;
mod service;
mod source;
mod standby;
mod status;
mod suggest;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod tunnel;
mod vocabulary;

pub use diff::{Change, Effect, Field, diff};
pub use model::*;
pub use problem::{Place, Problem, Problems};
pub use status::StatusSet;
pub(crate) use syntax::head;

use replicate::Said;
use service::Defaults;
use source::{Reported, Source};
use table::{Entry, Layered, Table};
use vocabulary::{AGENT, CLUSTER, DATAPATH, FULLNAT, INCLUDED, ROOT, SERVICE, Vocabulary};

/// Reads a configuration file and those it includes.
///
/// # Errors
/// Every mistake of all files, each with its place and remedy; also when the file cannot be read.
pub fn load(path: &Path) -> Result<Model, Problems> {
    let main = include::read_file(path);
    build(main, |entry| include::follow(path, entry))
}

/// The file and those that it includes now, whether or not they can be read and are right.
#[must_use]
pub fn files(path: &Path) -> Vec<PathBuf> {
    let main = include::read_file(path);
    let tree = syntax::head(main.text()).unwrap_or_else(|| syntax::tree(&main));
    let root = Table::open(main.spot(0), &tree, &ROOT);
    let included = root.get("include").map(|entry| include::named(path, &entry)).unwrap_or_default();
    std::iter::once(path.to_owned()).chain(included).collect()
}

/// Reads a configuration from a text, which messages call `name`. It cannot include files.
///
/// # Errors
/// Every mistake of the text, each with its place and remedy.
pub fn load_str(name: &str, text: &str) -> Result<Model, Problems> {
    build(Source::from_text(name, text), |entry| {
        entry.problem("a text without a file cannot include files", "load the configuration from a file");
        Vec::new()
    })
}

fn build(main: Source, follow: impl FnOnce(&Entry<'_>) -> Vec<Source>) -> Result<Model, Problems> {
    let (model, included) = {
        let tree = syntax::tree(&main);
        let root = Table::open(main.spot(0), &tree, &ROOT);
        let included = root.get("include").map(|entry| follow(&entry)).unwrap_or_default();
        (with_included(&main, root, &included), included)
    };
    let mut problems = Problems::default();
    for source in std::iter::once(main).chain(included) {
        problems.add_file(source.into_problems());
    }
    match model {
        Ok(model) if problems.is_empty() => Ok(model),
        _ => Err(problems),
    }
}

fn with_included(main: &Source, root: Table<'_>, included: &[Source]) -> Result<Model, Reported> {
    let trees: Vec<_> = included.iter().map(syntax::tree).collect();
    let roots =
        std::iter::zip(included, &trees).map(|(source, tree)| Table::open(source.spot(0), tree, &INCLUDED));
    let any_is_broken = main.is_broken() || included.iter().any(Source::is_broken);
    read(root, roots.collect(), any_is_broken)
}

fn read(root: Table<'_>, included: Vec<Table<'_>>, any_is_broken: bool) -> Result<Model, Reported> {
    let agent = section(root, "agent", &AGENT).and_then(agent::read);
    let datapath = section(root, "datapath", &DATAPATH).and_then(datapath::read);
    let fullnat = section(root, "fullnat", &FULLNAT).map(fullnat::read);
    let named = agent.as_ref().map(|agent| agent.node.clone()).map_err(|reported| *reported);
    let cluster = section(root, "cluster", &CLUSTER).map(|table| cluster::read(table, named));
    let defaults = root.get("defaults").map(|entry| Defaults::open(&entry)).transpose();
    let (defaults, right_defaults) = match defaults {
        Ok(defaults) => (defaults.unwrap_or_default(), Ok(())),
        Err(reported) => (Defaults::default(), Err(reported)),
    };
    let right_defaults = right_defaults.and(defaults.check(root.spot));

    let mut drafts = Vec::new();
    let mut right_services = Ok(());
    for tables in std::iter::once(root).chain(included).filter_map(|root| root.get("service")) {
        match tables.tables(&SERVICE) {
            Ok(tables) => drafts.extend(tables.into_iter().map(|table| service::read(table, defaults))),
            Err(reported) => right_services = Err(reported),
        }
    }
    if drafts.is_empty() && right_services.is_ok() && !any_is_broken {
        let remedy = "add [[service]] with name, vip and port, and its [[service.server]]";
        let is_empty = root.spot.source.text().trim().is_empty();
        let what = if is_empty { "the file is empty" } else { "no service is configured" };
        right_services = Err(root.spot.problem(what, remedy));
    }
    if let Ok(fullnat) = &fullnat {
        consistency::check(&drafts, fullnat, datapath.as_ref().ok());
    }
    if let Ok(cluster) = &cluster {
        consistency::check_cluster(&drafts, &cluster.endpoints);
    }
    let replication = cluster.as_ref().map_or(Said::default(), |it| it.replication.unwrap_or_default());
    let services: Vec<_> = drafts.into_iter().map(|draft| draft.finish(replication)).collect();
    right_defaults.and(right_services)?;
    Ok(Model {
        agent: agent?,
        datapath: datapath?,
        fullnat: fullnat?.finish()?,
        cluster: cluster?.finish()?,
        services: services.into_iter().collect::<Result<_, _>>()?,
    })
}

/// A table of the file that may be absent.
fn section<'a>(
    root: Table<'a>,
    key: &'static str,
    vocabulary: &'static Vocabulary,
) -> Result<Layered<'a>, Reported> {
    let own = root.get(key).map(|entry| entry.table(vocabulary)).transpose()?;
    Ok(Layered::new(root.spot, own, None))
}

//! The programs tests and demo run beside xlvs: the system's where it has them, Debian's unpacked under target/tools
//! where not. nginx is never installed: its package would start it on port 80.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::packages::{Extent, Set, Unpacked};
use crate::step;
use crate::workspace::Workspace;
use crate::wrapper;

/// A program, and the package that has it.
struct Wanted {
    program: &'static str,
    package: &'static str,
}

const WANTED: [Wanted; 11] = [
    Wanted { program: "nginx", package: "nginx" },
    Wanted { program: "haproxy", package: "haproxy" },
    Wanted { program: "wrk", package: "wrk" },
    Wanted { program: "curl", package: "curl" },
    Wanted { program: "ip", package: "iproute2" },
    Wanted { program: "ethtool", package: "ethtool" },
    Wanted { program: "nft", package: "nftables" },
    Wanted { program: "dnsmasq", package: "dnsmasq-base" },
    Wanted { program: "keepalived", package: "keepalived" },
    Wanted { program: "ipvsadm", package: "ipvsadm" },
    Wanted { program: "unshare", package: "util-linux" },
];

/// nginx as a balancer of connections, which Debian has in a package of its own: fetched with Debian's nginx, since a module
/// fits only the nginx it was built with.
const STREAM: (&str, &str) = ("libnginx-mod-stream", "usr/lib/nginx/modules/ngx_stream_module.so");

/// What those programs are called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    WANTED.iter().map(|wanted| wanted.program)
}

/// A folder whose `bin/` has every program of [`WANTED`], and `modules/` those of nginx: what `XLVS_TOOLS` names.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let _lock = workspace.lock_tools()?;
    let missing: Vec<&Wanted> = WANTED.iter().filter(|wanted| on_system(wanted.program).is_none()).collect();
    let unpacked = if missing.is_empty() { None } else { Some(fetch(workspace, &missing)?) };
    let folder = workspace.tools().join("programs");
    for wanted in &WANTED {
        let link = folder.join("bin").join(wanted.program);
        match (on_system(wanted.program), &unpacked) {
            (Some(path), _) => wrapper::write(&link, &path, "")?,
            (None, Some(unpacked)) => wrap(&link, wanted, unpacked)?,
            (None, None) => {}
        }
    }
    link_module(&folder, unpacked.as_ref().filter(|_| on_system("nginx").is_none()))?;
    Ok(folder)
}

/// Whatever of the two is there: the one that was fetched, or the system's.
fn link_module(folder: &Path, unpacked: Option<&Unpacked>) -> Result<()> {
    let module = unpacked.map_or(Path::new("/"), Unpacked::root).join(STREAM.1);
    let link = folder.join("modules").join("ngx_stream_module.so");
    if fs::read_link(&link).ok().as_ref() == Some(&module) {
        return Ok(());
    }
    let told = || format!("linking {}", link.display());
    fs::create_dir_all(folder.join("modules")).with_context(told)?;
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(told),
        _ => {}
    }
    if module.exists() { symlink(&module, &link).with_context(told) } else { Ok(()) }
}

fn fetch(workspace: &Workspace, missing: &[&Wanted]) -> Result<Unpacked> {
    let set = Set {
        name: "programs",
        packages: missing.iter().flat_map(packages).map(str::to_owned).collect(),
        together: &[],
        extent: Extent::Closure,
    };
    let names: Vec<&str> = missing.iter().map(|wanted| wanted.program).collect();
    let origin = if set.cached(workspace).is_some() { "cached" } else { "fetched" };
    let unpacked = set.ensure(workspace)?;
    step::note(
        "programs",
        &format!("{} from Debian's packages, {origin} under target/tools", names.join(", ")),
    );
    Ok(unpacked)
}

fn packages<'w>(wanted: &&'w Wanted) -> impl Iterator<Item = &'w str> {
    let module = (wanted.program == "nginx").then_some(STREAM.0);
    std::iter::once(wanted.package).chain(module)
}

fn wrap(link: &Path, wanted: &Wanted, unpacked: &Unpacked) -> Result<()> {
    let program = unpacked
        .program(wanted.program)
        .with_context(|| format!("looking for {} in the package {}", wanted.program, wanted.package))?;
    wrapper::write(link, &program, &unpacked.library_path())
}

/// The program in PATH or in root's folders, which a user's PATH may lack.
pub(crate) fn on_system(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| fs::metadata(path).is_ok_and(|found| found.is_file()))
}

//! A private apt under target/tools/apt: the system's own mirrors and keys, but lists, cache and state of our own, so
//! that nothing of the system changes and no root is needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::deb822::{Source, deb822_style, distribution_sources, one_line_style};
use crate::step;
use crate::workspace::Workspace;

/// Lists older than this are fetched anew before packages are: a mirror drops superseded versions.
const LISTS_LIVE: Duration = Duration::from_secs(12 * 3600);
const UPDATE_LIMIT: Duration = Duration::from_secs(180);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);
/// Where Debian itself serves security updates, for mirrors that do not carry them.
const SECURITY_ARCHIVE: &str = "http://security.debian.org/debian-security";

/// The private apt, its configuration written and its lists fresh.
pub(crate) struct Apt<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
}

/// One package apt would fetch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Download {
    /// The file's name, which holds package, version and architecture.
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

impl<'a> Apt<'a> {
    /// Whether this machine has the two programs packages are fetched with.
    pub(crate) fn is_here() -> bool {
        ["/usr/bin/apt-get", "/usr/bin/dpkg"].iter().all(|program| Path::new(program).exists())
    }

    /// Writes the configuration, and fetches the lists if they are missing or old. The tools lock must be held.
    pub(crate) fn prepare(workspace: &'a Workspace) -> Result<Self> {
        if !Self::is_here() {
            bail!(
                "looking for apt-get and dpkg: this machine has none; Debian or Ubuntu is needed for this step"
            );
        }
        let folder = workspace.tools().join("apt");
        for part in ["lists/partial", "archives/partial", "log", "none"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("creating {}", part.display()))?;
        }
        let apt = Self { workspace, folder };
        apt.write_configuration()?;
        if apt.lists_age().is_none_or(|age| age > LISTS_LIVE) {
            apt.fetch_lists()?;
        }
        Ok(apt)
    }

    /// What installing `names` would fetch (themselves also when they are installed), as if the packages that start
    /// with one of `ignored` were not installed.
    pub(crate) fn closure(&self, names: &[&str], ignored: &[&str]) -> Result<Vec<Download>> {
        self.write_status(ignored)?;
        let mut command = self.get();
        command.args(["-y", "--no-install-recommends", "--reinstall", "--print-uris", "install"]).args(names);
        let text = step::output(&mut command).with_context(|| format!("resolving {}", names.join(" ")))?;
        Ok(text.lines().filter_map(printed_uri).collect())
    }

    /// Fetches what [`Self::closure`] named, into `archives`; apt checks size and hash.
    pub(crate) fn download(
        &self,
        names: &[&str],
        ignored: &[&str],
        archives: &Path,
        what: &str,
    ) -> Result<()> {
        self.write_status(ignored)?;
        let partial = archives.join("partial");
        fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
        let mut command = self.get();
        command
            .args(["-y", "--no-install-recommends", "--reinstall", "--download-only", "-o"])
            .arg(format!("Dir::Cache::archives={}/", archives.display()))
            .arg("install")
            .args(names);
        step::run("fetch", what, &mut command, &self.workspace.log("apt-download"), Some(DOWNLOAD_LIMIT))
    }

    /// Fetches `names` themselves and nothing they depend on, into `archives`; returns how many bytes that was.
    pub(crate) fn download_alone(&self, names: &[String], archives: &Path) -> Result<u64> {
        self.write_status(&[])?;
        let mut command = self.get();
        command.arg("download").args(names).current_dir(archives);
        step::run(
            "fetch",
            &names.join(", "),
            &mut command,
            &self.workspace.log("apt-download"),
            Some(DOWNLOAD_LIMIT),
        )?;
        let files = fs::read_dir(archives).with_context(|| format!("listing {}", archives.display()))?;
        Ok(files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
    }

    /// The candidate's version, or nothing if the lists do not know the package.
    pub(crate) fn candidate(&self, name: &str) -> Result<Option<String>> {
        let mut command = Command::new("apt-cache");
        command.arg("-c").arg(self.folder.join("apt.conf")).args(["policy", name]).env("LC_ALL", "C");
        let text = step::output(&mut command)?;
        let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.filter(|version| *version != "(none)").map(str::to_owned))
    }

    /// The packages `name` depends on directly.
    pub(crate) fn dependencies(&self, name: &str) -> Result<Vec<String>> {
        let mut command = Command::new("apt-cache");
        command.arg("-c").arg(self.folder.join("apt.conf")).args(["depends", name]).env("LC_ALL", "C");
        let text = step::output(&mut command)?;
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-c").arg(self.folder.join("apt.conf")).arg("-qq");
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn lists_age(&self) -> Option<Duration> {
        let stamp = fs::metadata(self.folder.join("lists-fetched")).ok()?;
        SystemTime::now().duration_since(stamp.modified().ok()?).ok()
    }

    fn fetch_lists(&self) -> Result<()> {
        let (sources, codename) = system_sources()?;
        let mut chosen = distribution_sources(&sources, &codename);
        if chosen.is_empty() {
            bail!(
                "reading /etc/apt: no source of {codename} with its main part; add one to /etc/apt/sources.list"
            );
        }
        let added: Vec<Source> = chosen.iter().filter(|source| !knows(&sources, source)).cloned().collect();
        self.write_status(&[])?;
        if let Err(error) = self.update(&chosen) {
            if added.is_empty() {
                return Err(error);
            }
            for source in chosen.iter_mut().filter(|source| added.contains(source)) {
                source.uri = SECURITY_ARCHIVE.to_owned();
            }
            step::note("fetch", "the mirror carries no security suite: asking Debian's own archive for it");
            self.update(&chosen)?;
        }
        let stamp = self.folder.join("lists-fetched");
        fs::write(&stamp, b"").with_context(|| format!("writing {}", stamp.display()))
    }

    fn update(&self, sources: &[Source]) -> Result<()> {
        let lines: Vec<String> = sources.iter().map(Source::line).collect();
        write(&self.folder.join("sources.list"), &(lines.join("\n") + "\n"))?;
        let mut command = self.get();
        // Without this a source that cannot be reached is a warning, and the lists quietly lack it.
        command.args(["-o", "APT::Update::Error-Mode=any", "update"]);
        let uris: Vec<&str> = sources.iter().map(|source| source.uri.as_str()).collect();
        let mut distinct = uris.clone();
        distinct.dedup();
        let what = format!("package lists from {}", distinct.join(", "));
        step::run("fetch", &what, &mut command, &self.workspace.log("apt-update"), Some(UPDATE_LIMIT))
    }

    /// The system's record of installed packages, without those that start with one of `ignored`.
    fn write_status(&self, ignored: &[&str]) -> Result<()> {
        let system = "/var/lib/dpkg/status";
        let text = fs::read(system).with_context(|| format!("reading {system}"))?;
        let text = String::from_utf8_lossy(&text);
        let kept: Vec<&str> = text
            .split("\n\n")
            .filter(|stanza| {
                let name = stanza.trim_start().strip_prefix("Package: ").unwrap_or_default();
                !ignored.iter().any(|prefix| name.starts_with(prefix))
            })
            .collect();
        write(&self.folder.join("status"), &kept.join("\n\n"))
    }

    fn write_configuration(&self) -> Result<()> {
        let folder = self.folder.display();
        // Hooks are cleared because they act on the system (indexers) or on downloads (container images).
        let text = format!(
            r#"Dir::State "{folder}/";
Dir::State::lists "{folder}/lists/";
Dir::State::status "{folder}/status";
Dir::State::extended_states "{folder}/extended_states";
Dir::Cache "{folder}/";
Dir::Cache::archives "{folder}/archives/";
Dir::Log "{folder}/log/";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/none";
Dir::Etc::preferences "{folder}/none/preferences";
Dir::Etc::preferencesparts "{folder}/none";
APT::Sandbox::User "root";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::Contents-deb;
"#
        );
        write(&self.folder.join("apt.conf"), &text)
    }
}

fn knows(sources: &[Source], wanted: &Source) -> bool {
    sources.iter().any(|source| source.suite == wanted.suite && source.uri == wanted.uri)
}

/// Every source the system has, and the code name of its release.
fn system_sources() -> Result<(Vec<Source>, String)> {
    let mut sources = Vec::new();
    if let Ok(text) = fs::read_to_string("/etc/apt/sources.list") {
        sources.extend(one_line_style(&text));
    }
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    for path in parts.map(|entry| entry.path()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line_style(&text)),
            Some("sources") => sources.extend(deb822_style(&text)),
            _ => {}
        }
    }
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let fields: BTreeMap<&str, &str> = release.lines().filter_map(|line| line.split_once('=')).collect();
    let codename = fields.get("VERSION_CODENAME").context("reading VERSION_CODENAME of /etc/os-release")?;
    Ok((sources, codename.trim_matches('"').to_owned()))
}

/// `'URI' FILE BYTES HASH`, as apt-get prints it.
fn printed_uri(line: &str) -> Option<Download> {
    let mut words = line.strip_prefix('\'')?.split_whitespace().skip(1);
    Some(Download { file: words.next()?.to_owned(), bytes: words.next()?.parse().ok()? })
}

/// Writes only what differs, so that a run that changes nothing leaves times alone.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_uri_is_file_and_size() {
        let line = "'http://m/pool/r/rustc-web_1.96.0%2bdfsg1-1_amd64.deb' rustc-web_1.96.0+dfsg1-1_amd64.deb 4450500 SHA256:8f";
        let expected = Download { file: "rustc-web_1.96.0+dfsg1-1_amd64.deb".to_owned(), bytes: 4_450_500 };
        assert_eq!(printed_uri(line), Some(expected));
        assert_eq!(printed_uri("NOTE: This is only a simulation!"), None);
    }
}

//! Which compiler and linker build the eBPF program: the first usable route, chosen without asking.
//!
//! Both halves must read the same LLVM bitcode, so everything here hangs on one number, [`LLVM_MAJOR`].

mod debian;
mod linker;
mod rustup;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::apt::Apt;
use crate::step;
use crate::workspace::Workspace;
use crate::wrapper;

/// What bpf-linker 0.10.3 reads; a compiler of another major emits bitcode it refuses.
pub(crate) const LLVM_MAJOR: u32 = 22;

/// Where the eBPF compiler comes from.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Route {
    /// A rustup toolchain with rust-src; `core` is built with the program
    Rustup,
    /// Debian's rustc-web with its prebuilt `core` for BPF, unpacked under target/tools
    Debian,
}

/// A compiler and a linker that fit each other.
pub(crate) struct Toolchain {
    /// Stands for `rustc`; sets the library path its compiler needs.
    pub(crate) rustc: PathBuf,
    /// Stands for `bpf-linker`; sets the library path to the compiler's LLVM.
    pub(crate) linker: PathBuf,
    /// Stands for the `clippy-driver` of that compiler, if it has one.
    pub(crate) clippy: Option<PathBuf>,
    /// Whether `core` must be built from source.
    pub(crate) build_std: bool,
}

/// A compiler as a route delivers it.
struct Compiler {
    rustc: PathBuf,
    /// LD_LIBRARY_PATH for it; empty if it needs none.
    library_path: String,
    /// The folder that holds its libLLVM.
    llvm_folder: PathBuf,
    build_std: bool,
    /// For the line that says what was chosen.
    description: String,
}

/// Finds or fetches the toolchain: what lies ready first, then Debian's packages, then rustup's download.
pub(crate) fn ensure(workspace: &Workspace, wanted: Option<Route>) -> Result<Toolchain> {
    let _lock = workspace.lock_tools()?;
    let compiler = match wanted {
        Some(Route::Rustup) => match rustup::present()? {
            Some(compiler) => compiler,
            None => rustup::install(workspace)?,
        },
        Some(Route::Debian) => debian::ensure(workspace)?,
        None => choose(workspace)?,
    };
    step::note("compiler", &compiler.description);
    let linker = linker::ensure(workspace)?;
    assemble(workspace, &compiler, &linker)
}

fn choose(workspace: &Workspace) -> Result<Compiler> {
    if let Some(compiler) = rustup::present()? {
        return Ok(compiler);
    }
    let debian = if Apt::is_here() {
        match debian::ensure(workspace) {
            Ok(compiler) => return Ok(compiler),
            Err(error) => format!("{error:#}"),
        }
    } else {
        "no apt-get on this machine".to_owned()
    };
    step::note("compiler", &format!("Debian's packages do not serve here ({})", first_line(&debian)));
    match rustup::install(workspace) {
        Ok(compiler) => Ok(compiler),
        Err(error) => bail!(
            "no compiler for eBPF with LLVM {LLVM_MAJOR}.\n- Debian's rustc-web: {debian}\n- rustup: {error:#}\n\
             Remedy: rustup toolchain install {} --profile minimal -c rust-src",
            rustup::PINNED
        ),
    }
}

/// Writes the wrappers under target/tools/bpf (clippy knows its compiler by the name `rustc`), and the folder that
/// names one LLVM only.
fn assemble(workspace: &Workspace, compiler: &Compiler, linker: &Path) -> Result<Toolchain> {
    let tools = workspace.tools();
    let llvm = tools.join("llvm");
    link_llvm(&compiler.llvm_folder, &llvm)?;
    let rustc = tools.join("bpf/rustc");
    let clippy = compiler.rustc.with_file_name("clippy-driver");
    let bpf_clippy = clippy.exists().then(|| tools.join("bpf/clippy-driver"));
    let bpf_linker = tools.join("bpf/bpf-linker");
    wrapper::write(&rustc, &compiler.rustc, &compiler.library_path)?;
    if let Some(bpf_clippy) = &bpf_clippy {
        wrapper::write(bpf_clippy, &clippy, &compiler.library_path)?;
    }
    wrapper::write(&bpf_linker, linker, &llvm.display().to_string())?;
    let version = step::output(Command::new(&bpf_linker).arg("--version"))
        .context("trying bpf-linker on the compiler's LLVM")?;
    step::note("linker", &format!("{}, on LLVM {LLVM_MAJOR} of that compiler", version.trim()));
    Ok(Toolchain { rustc, linker: bpf_linker, clippy: bpf_clippy, build_std: compiler.build_std })
}

/// bpf-linker takes the first libLLVM it finds on its library path, and aborts on one of another major. So its path is
/// a folder of links: that LLVM under the two names it looks for, and the libraries that LLVM itself may need.
fn link_llvm(from: &Path, folder: &Path) -> Result<()> {
    let wanted = llvm_links(from)?;
    let right = |name: &String| fs::read_link(folder.join(name)).ok().as_ref() == wanted.get(name);
    // Left alone when right: another build may be linking at this moment.
    if wanted.keys().all(right) && fs::read_dir(folder).is_ok_and(|entries| entries.count() == wanted.len()) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for (name, original) in wanted {
        let link = folder.join(name);
        std::os::unix::fs::symlink(&original, &link)
            .with_context(|| format!("linking {} to {}", link.display(), original.display()))?;
    }
    Ok(())
}

fn llvm_links(from: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut links = BTreeMap::new();
    let mut llvm = None;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let path = entry.with_context(|| format!("listing {}", from.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let rusts_own = name.starts_with("librustc") || name.starts_with("libstd-");
        if rusts_own || !name.contains(".so") || !is_elf(&path) {
            continue;
        }
        if name.starts_with("libLLVM") {
            llvm = Some(path.clone());
        }
        links.insert(name, path);
    }
    let llvm = llvm.with_context(|| format!("looking for libLLVM in {}: there is none", from.display()))?;
    links.entry(format!("libLLVM-{LLVM_MAJOR}.so")).or_insert(llvm);
    Ok(links)
}

/// rustup ships a linker script beside its libLLVM, which no dlopen can use.
fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// What `rustc -vV` says of itself.
struct Version {
    /// `1.96.0`
    release: String,
    llvm_major: u32,
}

impl Version {
    fn of(rustc: &mut Command) -> Result<Self> {
        let text = step::output(rustc.arg("-vV"))?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let release = field("release:").context("reading the release of rustc -vV")?.to_owned();
        let llvm = field("LLVM version:").context("reading the LLVM version of rustc -vV")?;
        let llvm_major = llvm.split('.').next().unwrap_or_default().parse();
        Ok(Self { release, llvm_major: llvm_major.with_context(|| format!("reading LLVM version {llvm}"))? })
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

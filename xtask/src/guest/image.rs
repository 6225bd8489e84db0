//! The guest's whole disk: an initramfs with busybox, the kernel's network modules, the agent, the tests, and the
//! programs they run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::elf;
use crate::build::Built;
use crate::packages::Unpacked;
use crate::programs;
use crate::step;
use crate::workspace::Workspace;

/// Starts the line with which the guest's init reports a job's exit code.
pub(super) const END_OF_JOB: &str = "guest job ended with ";
const INIT: &str = include_str!("init.sh");
/// Where modules are taken from: all of the network stack, and what it leans on.
const MODULE_FOLDERS: [&str; 5] =
    ["kernel/net", "kernel/lib", "kernel/crypto", "kernel/drivers/net", "kernel/drivers/virtio"];

/// An object beside the agent's; init.sh tells programs where it is.
pub(super) struct Object {
    pub(super) path: PathBuf,
    /// In the guest's /lib.
    pub(super) name: &'static str,
}

/// One program to run in the guest.
pub(super) struct Job {
    pub(super) program: PathBuf,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
}

impl Job {
    /// The shell line that runs it.
    fn line(&self) -> String {
        let arguments: Vec<String> =
            self.arguments.iter().map(|argument| format!("'{}'", argument.replace('\'', r"'\''"))).collect();
        format!("/bin/{} {}; echo \"{END_OF_JOB}$?\"\n", self.name, arguments.join(" "))
    }
}

/// A kernel and its initramfs, ready to boot.
pub(super) struct Image {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// The kernel's release, as `uname -r` will say it.
    pub(super) release: String,
    pub(super) bytes: u64,
}

impl Image {
    /// Lays the tree out under target/guest and packs it.
    pub(super) fn build(
        workspace: &Workspace,
        kernel: &Unpacked,
        emulator: &Unpacked,
        built: &Built,
        object: &Object,
        tools: &Path,
        jobs: &[Job],
    ) -> Result<Self> {
        let home = workspace.target().join("guest");
        let root = home.join("root");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
        }
        let busybox = emulator.program("busybox").context("looking for busybox in its package")?;
        lay_out(&root, &busybox)?;
        let release = modules(&root, kernel, &busybox)?;
        elf::install(&built.agent, "xlvs", &root)?;
        copy(&built.object, &root.join("lib/xlvs.o"))?;
        copy(&object.path, &root.join("lib").join(object.name))?;
        for job in jobs {
            elf::install(&job.program, &job.name, &root)?;
        }
        for program in programs::names() {
            elf::install(&tools.join("bin").join(program), program, &root)?;
        }
        data(workspace, &root)?;
        let lines: String = jobs.iter().map(Job::line).collect();
        write(&root.join("jobs"), &lines, 0o644)?;
        write(&root.join("init"), INIT, 0o755)?;

        let initramfs = home.join("initramfs.cpio");
        pack(workspace, &root, &busybox, &initramfs)?;
        let bytes =
            fs::metadata(&initramfs).with_context(|| format!("reading {}", initramfs.display()))?.len();
        let kernel = kernel.root().join(format!("boot/vmlinuz-{release}"));
        Ok(Self { kernel, initramfs, release, bytes })
    }
}

fn lay_out(root: &Path, busybox: &Path) -> Result<()> {
    for folder in [
        "bin", "sbin", "dev", "etc", "lib", "lib64", "proc", "sys", "run", "tmp", "root", "usr", "var/log",
        "tests",
    ] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    link("../bin", &root.join("usr/bin"))?;
    link("../sbin", &root.join("usr/sbin"))?;
    copy(busybox, &root.join("bin/busybox"))?;
    // Scripts name this one.
    link("busybox", &root.join("bin/sh"))?;
    // The kernel asks for this one by name to load a module that a system call needs.
    link("../bin/busybox", &root.join("sbin/modprobe"))?;
    write(
        &root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        0o644,
    )?;
    write(&root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\nnobody:x:65533:\n", 0o644)
}

/// Copies the modules and has busybox index them; returns the kernel's release.
fn modules(root: &Path, kernel: &Unpacked, busybox: &Path) -> Result<String> {
    let all = ["lib/modules", "usr/lib/modules"].map(|folder| kernel.root().join(folder));
    let all =
        all.iter().find(|folder| folder.is_dir()).context("looking for modules in the kernel's package")?;
    let mut releases = fs::read_dir(all).with_context(|| format!("listing {}", all.display()))?;
    let release =
        releases.next().context("the kernel's package has no modules")?.context("reading a folder")?;
    let name = release.file_name().to_string_lossy().into_owned();
    let destination = root.join("lib/modules").join(&name);
    for folder in MODULE_FOLDERS {
        let to = destination.join(folder);
        let parent = to.parent().with_context(|| format!("no folder above {}", to.display()))?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        let from = release.path().join(folder);
        step::output(Command::new("cp").arg("-r").arg(&from).arg(&to)).context("copying kernel modules")?;
    }
    for list in ["modules.builtin", "modules.order"] {
        copy(&release.path().join(list), &destination.join(list))?;
    }
    step::output(Command::new(busybox).arg("depmod").arg("-b").arg(root).arg(&name))
        .context("indexing kernel modules")?;
    Ok(name)
}

/// The files tests read lie in the workspace: in the guest under the same path, which is compiled into the tests.
fn data(workspace: &Workspace, root: &Path) -> Result<()> {
    for part in ["tests/data", "config"] {
        same_place(&workspace.root().join(part), root)?;
    }
    // Whom a system trusts.
    same_place(Path::new("/etc/ssl/certs/ca-certificates.crt"), root)
}

/// Copies a file or a folder of this machine to the same path in the guest.
fn same_place(from: &Path, root: &Path) -> Result<()> {
    let to = root.join(from.strip_prefix("/").unwrap_or(from));
    let parent = to.parent().with_context(|| format!("no folder above {}", to.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    step::output(Command::new("cp").args(["-r", "-L"]).arg(from).arg(&to))
        .map(|_| ())
        .with_context(|| format!("copying {} into the guest", from.display()))
}

fn pack(workspace: &Workspace, root: &Path, busybox: &Path, initramfs: &Path) -> Result<()> {
    let script = r#"set -eu; cd "$1"; find . | "$0" cpio -o -H newc -R 0:0 >"$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(busybox).arg(root).arg(initramfs);
    step::run("pack", "the guest's initramfs", &mut command, &workspace.log("initramfs"), None)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

fn link(original: &str, path: &Path) -> Result<()> {
    symlink(original, path).with_context(|| format!("linking {} to {original}", path.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", path.display()))
}

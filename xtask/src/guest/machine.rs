//! The emulated machine: a processor without KVM, a serial line, and nothing else.
//!
//! Its clock counts instructions, not seconds: a billion of them are one second there, however long they take here, and when all
//! wait, the clock goes on to what is waited for. So time-outs of the agent, of the tests and of TCP stay what they are on a
//! machine, nobody has to know of the emulation, and what else this machine does changes no result.

use std::path::Path;
use std::process::Command;

use super::image::Image;
use crate::packages::Unpacked;

/// An image and what runs it.
pub(super) struct Machine<'a> {
    pub(super) emulator: &'a Unpacked,
    pub(super) program: &'a Path,
    pub(super) image: &'a Image,
}

impl Machine<'_> {
    /// The command that boots it, with the guest's console as its output; it ends when the guest powers off, or after
    /// `limit` seconds.
    pub(super) fn command(&self, limit: u32) -> Command {
        let share = self.emulator.root().join("usr/share");
        let mut command = Command::new("timeout");
        command.args(["--foreground", "--kill-after=5", &limit.to_string()]).arg(self.program);
        // The package's own firmware: the program's built-in paths point where it would be installed.
        command.arg("-L").arg(share.join("qemu")).arg("-L").arg(share.join("seabios"));
        command.args(["-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", "-m", "2048"]);
        // A nanosecond an instruction is the fastest there is.
        command.args(["-icount", "shift=0,sleep=off,align=off"]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
        ]);
        command.arg("-kernel").arg(&self.image.kernel).arg("-initrd").arg(&self.image.initramfs);
        command.args(["-append", "console=ttyS0 quiet loglevel=2 panic=-1 mitigations=off"]);
        command.env("LD_LIBRARY_PATH", self.emulator.library_path());
        command
    }
}

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
    /// Wires between three cards of its own each.
    pub(super) wires: u8,
}

const CARDS_A_WIRE: u8 = 3;

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
        for (wire, card) in (0..self.wires).flat_map(|wire| (0..CARDS_A_WIRE).map(move |card| (wire, card))) {
            // A hub knows nothing of offloads, so each frame is what a cable would carry: not longer than the MTU, with its checksum.
            command.args(["-netdev", &format!("hubport,id=w{wire}c{card},hubid={wire}")]);
            command.args(["-device", &device(wire, card)]);
        }
        command.arg("-kernel").arg(&self.image.kernel).arg("-initrd").arg(&self.image.initramfs);
        command.args(["-append", "console=ttyS0 quiet loglevel=2 panic=-1 mitigations=off"]);
        command.env("LD_LIBRARY_PATH", self.emulator.library_path());
        command
    }
}

/// Cards are told apart by their addresses, in the order of wires; they boot nothing.
fn device(wire: u8, card: u8) -> String {
    format!("virtio-net-pci,netdev=w{wire}c{card},mac=52:54:00:00:{wire:02x}:{card:02x},romfile=")
}

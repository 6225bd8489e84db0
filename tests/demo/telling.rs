//! What the reader sees: claims with a number, findings with a mark, commands to type.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use xlvs_tests::cleanup;

use crate::scene::Scene;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Prints to standard output, in colour on a terminal (unless NO_COLOR asks for none).
pub struct Telling {
    colour: bool,
    claims: Cell<usize>,
}

/// A claim while it is being shown.
pub struct Claim<'a> {
    telling: &'a Telling,
    begun: Instant,
    held: bool,
}

impl Telling {
    pub fn start() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, claims: Cell::new(0) }
    }

    /// A line as it is.
    pub fn line(&self, text: impl Display) {
        silence_when_interrupted();
        // A reader who closed the pipe has seen enough; the exit code still counts.
        let _closed = writeln!(io::stdout(), "{text}");
    }

    /// A command the reader can run, by the side of what it shows.
    pub fn by_hand(&self, command: &str) {
        self.line(format_args!("     {} {}", self.painted(DIM, "$"), self.painted(CYAN, command)));
    }

    pub fn claim(&self, title: &str) -> Claim<'_> {
        let number = self.claims.get() + 1;
        self.claims.set(number);
        self.line(format_args!("\n{}", self.painted(BOLD, &format!("  {number}  {title}"))));
        Claim { telling: self, begun: Instant::now(), held: true }
    }

    /// Where things are while the demo waits.
    pub fn hold(&self, scene: &Scene) {
        self.line(format_args!(
            "\n{}",
            self.painted(BOLD, "     Everything stays up until Enter or Ctrl-C. Try")
        ));
        for command in scene.commands() {
            self.by_hand(&command);
        }
    }

    pub fn end(&self, text: &str) {
        self.line(format_args!("\n  {}", self.painted(GREEN, text)));
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Claim<'_> {
    /// A finding the claim stands or falls with; `text` says what was found, with its number.
    pub fn check(&mut self, held: bool, text: impl Display) {
        self.held &= held;
        let (mark, code) = if held { ("✓", GREEN) } else { ("✗ FAILED", RED) };
        self.telling.line(format_args!("     {} {text}", self.telling.painted(code, mark)));
    }

    /// What is being done, or belongs to the picture.
    pub fn note(&self, text: impl Display) {
        self.telling.line(format_args!("       {text}"));
    }

    pub fn by_hand(&self, command: &str) {
        self.telling.by_hand(command);
    }

    /// Says how long it took; whether the claim held.
    pub fn end(self) -> bool {
        let Self { telling, begun, held } = self;
        let seconds = begun.elapsed().as_secs_f64();
        let verdict =
            if held { telling.painted(GREEN, "held") } else { telling.painted(RED, "did not hold") };
        telling.line(format_args!("     {verdict}{}", telling.painted(DIM, &format!(", {seconds:.1} s"))));
        held
    }
}

/// Once a signal has come, everything is being taken away and what fails means nothing: say no more, and wait for the
/// end of the process.
pub fn silence_when_interrupted() {
    if cleanup::interrupted() {
        eprintln!("\n  interrupted: taking everything away");
        loop {
            std::thread::park();
        }
    }
}

//! What a bench is at, for whoever waits.

use std::io::IsTerminal as _;

pub fn tell(what: &str) {
    let end = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{end}  measure  {what}");
}

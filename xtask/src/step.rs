//! How progress is told: one line a step on stderr, a running clock on a terminal, the log's tail on failure.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines of a failed command's output worth showing; the rest is in its log.
const TAIL: usize = 40;
/// Without a terminal, a long step says this often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One finished fact: a verb of at most eight letters and a sentence.
pub(crate) fn note(verb: &str, text: &str) {
    eprintln!("{verb:>9}  {text}");
}

/// Runs a command with its output in `log`, telling `verb what … seconds`. An error shows the command and the
/// log's end; `limit` bounds the run.
pub(crate) fn run(
    verb: &str,
    what: &str,
    command: &mut Command,
    log: &Path,
    limit: Option<Duration>,
) -> Result<()> {
    let begun = Instant::now();
    let status = watch(verb, what, command, log, limit, begun)?;
    if status.success() {
        note(verb, &format!("{what}: {:.1} s", begun.elapsed().as_secs_f64()));
        return Ok(());
    }
    bail!(
        "{verb} {what}: {} ended with {status}; the end of {}:\n{}",
        shown(command),
        log.display(),
        tail(log)
    )
}

/// Runs a command that talks to the terminal itself (cargo does), and insists on success.
pub(crate) fn run_openly(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{what}: {} ended with {status}", shown(command));
    }
    Ok(())
}

/// What a command printed, if it succeeded; otherwise an error with its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {}", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}\n{}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as a reader could type it, without its environment.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        let text = argument.to_string_lossy();
        if text.contains([' ', '"', '*']) {
            line.push_str(&format!("'{text}'"));
        } else {
            line.push_str(&text);
        }
    }
    line
}

/// Megabytes (10⁶ bytes), as package managers count them.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn watch(
    verb: &str,
    what: &str,
    command: &mut Command,
    log: &Path,
    limit: Option<Duration>,
    begun: Instant,
) -> Result<ExitStatus> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let errors = output.try_clone().with_context(|| format!("opening {} twice", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("starting {}", shown(command)))?;
    let terminal = io::stderr().is_terminal();
    let mut next_heartbeat = HEARTBEAT;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {}", shown(command)))? {
            if terminal {
                clear_line();
            }
            return Ok(status);
        }
        let elapsed = begun.elapsed();
        if limit.is_some_and(|limit| elapsed > limit) {
            child
                .kill()
                .and_then(|()| child.wait())
                .with_context(|| format!("stopping {}", shown(command)))?;
            bail!("{verb} {what}: stopped after {} s; its output is in {}", elapsed.as_secs(), log.display());
        }
        if terminal {
            eprint!("\r{verb:>9}  {what} … {} s", elapsed.as_secs());
            // A lost progress line is no reason to fail the step.
            let _ = io::stderr().flush();
        } else if elapsed > next_heartbeat {
            note(verb, &format!("{what} … {} s", elapsed.as_secs()));
            next_heartbeat += HEARTBEAT;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn clear_line() {
    eprint!("\r\x1b[2K");
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

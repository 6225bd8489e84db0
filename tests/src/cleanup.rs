//! What has to be undone, exactly once: by the guard's drop (a panic unwinds through it), or by a signal.

use std::sync::{Mutex, MutexGuard, Once, PoisonError, RwLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Action = Box<dyn FnOnce() + Send>;

/// Pending actions in the order they were registered; each is taken out before it runs.
struct Pending {
    next_id: u64,
    /// A signal has come: what is made now must go at once.
    closing: bool,
    actions: Vec<(u64, Action)>,
}

/// Held for reading while a thing is made or undone; a signal takes it for good, so none is made or left half undone
/// when the process ends.
static IN_HAND: RwLock<()> = RwLock::new(());

static PENDING: Mutex<Pending> = Mutex::new(Pending { next_id: 0, closing: false, actions: Vec::new() });

fn pending() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `make`, which makes a thing and registers its [`Undo`]: to a signal the two are one. It must be short, must not
/// drop an [`Undo`], and does not return once a signal has come.
pub fn making<T>(make: impl FnOnce() -> T) -> T {
    let _in_hand = IN_HAND.read().unwrap_or_else(PoisonError::into_inner);
    make()
}

/// Whether a signal has come: what fails from now on fails because everything is being taken away.
pub fn interrupted() -> bool {
    pending().closing
}

/// An action that will run when this is dropped, unless a signal ran it before.
#[must_use = "dropping it undoes the thing at once"]
pub struct Undo {
    id: u64,
}

impl Undo {
    /// Registers `action`; it must not panic and should ignore what is already gone.
    pub fn new(action: impl FnOnce() + Send + 'static) -> Self {
        let mut pending = pending();
        let id = pending.next_id;
        pending.next_id += 1;
        if pending.closing {
            drop(pending);
            action();
        } else {
            pending.actions.push((id, Box::new(action)));
        }
        Self { id }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let _in_hand = IN_HAND.read().unwrap_or_else(PoisonError::into_inner);
        let action = {
            let mut pending = pending();
            let place = pending.actions.iter().position(|(id, _)| *id == self.id);
            place.map(|index| pending.actions.remove(index).1)
        };
        if let Some(action) = action {
            action();
        }
    }
}

/// Undoes everything still pending, last first, and from now on whatever is registered, at once.
fn undo_all() {
    pending().closing = true;
    // Never given back: whoever comes to make or undo something waits for the end of the process.
    std::mem::forget(IN_HAND.write().unwrap_or_else(PoisonError::into_inner));
    loop {
        let Some((_, action)) = pending().actions.pop() else { return };
        action();
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP undo everything pending and end the process with 128 + signal.
///
/// A library must not take signals behind its caller's back, so the caller asks for it; asking twice is fine.
pub fn on_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    undo_all();
                    std::process::exit(128 + signal);
                }
            });
        }
        Err(error) => eprintln!("warning: signals will leave namespaces behind: {error}"),
    });
}

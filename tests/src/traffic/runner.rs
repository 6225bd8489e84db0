//! A thread inside a namespace with a tokio runtime of its own.

use std::future::Future;
use std::sync::{Once, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::namespace::Namespace;

/// Runs futures inside a namespace until it is dropped; then their sockets are closed.
pub struct Runner {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread; sockets opened by its futures belong to `namespace`.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        make_room_for_sockets();
        let (ready, wait_ready) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let path = namespace.path();
        let thread = thread::Builder::new()
            .name(namespace.name().to_owned())
            .spawn(move || {
                let runtime = Namespace::join_path(&path).and_then(|()| {
                    Builder::new_current_thread().enable_all().build().context("cannot start a tokio runtime")
                });
                match runtime {
                    Ok(runtime) => {
                        let _starter_gone = ready.send(Ok(runtime.handle().clone()));
                        let _dropped = runtime.block_on(stopped);
                    }
                    Err(error) => {
                        let _starter_gone = ready.send(Err(error));
                    }
                }
            })
            .context("cannot start a thread")?;
        let handle = wait_ready.recv().context("the traffic thread ended before it was ready")??;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs `work` inside the namespace and waits for its result.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (done, wait_done) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            let _waiter_gone = done.send(work.await);
        });
        wait_done.recv().map_err(|_| anyhow!("a task of the traffic thread panicked"))
    }

    /// Starts `work` inside the namespace and does not wait.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _thread_gone = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// So many connections, or as many of them as this process can hold both ends of.
pub fn at_most(connections: usize) -> usize {
    /// Descriptors of everything else.
    const OTHERS: u64 = 500;
    make_room_for_sockets();
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let possible = (limit.saturating_sub(OTHERS) / 2) as usize;
    if possible < connections {
        println!("{limit} open files are the limit here: {possible} connections instead of {connections}");
    }
    connections.min(possible)
}

/// Debian's soft limit is 1,024 descriptors, fewer than the two ends of a thousand connections. A hard limit of less than ten
/// thousand need is raised, too, where that is allowed.
fn make_room_for_sockets() {
    const ENOUGH: u64 = 1 << 16;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
            setrlimit(Resource::RLIMIT_NOFILE, ENOUGH, hard.max(ENOUGH))
                .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard))
        });
        if let Err(error) = raised {
            eprintln!("warning: the limit of open files stays as it is: {error}");
        }
    });
}

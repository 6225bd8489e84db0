//! An agent of which everything is real but the answers.

use lb_userspace::control::{ControlSocket, Inquiry, Limits, Request, Response, Server};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Serves a control socket in a folder of its own until it is dropped.
pub(crate) struct Agent {
    folder: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Limits that do not make tests wait.
pub(crate) const BRISK: Limits = Limits {
    request_bytes: 64 << 10,
    callers: 32,
    caller_patience: Duration::from_secs(5),
    agent_patience: Duration::from_secs(5),
};

impl Agent {
    /// An agent that answers each request by this rule; `None`: it never answers.
    pub(crate) fn answering(rule: impl FnMut(&Request) -> Option<Response> + Send + 'static) -> Self {
        Self::limited(BRISK, rule)
    }

    pub(crate) fn limited(
        limits: Limits,
        mut rule: impl FnMut(&Request) -> Option<Response> + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = ControlSocket::bind(&folder.path().join("s")).expect("a socket");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let (to_agent, mut inquiries) = tokio::sync::mpsc::channel::<Inquiry>(8);
                let server = Server::new(socket, limits).expect("a server");
                ready.send(()).expect("the test waits");
                let answers = async move {
                    let mut unanswered = Vec::new();
                    while let Some((request, reply)) = inquiries.recv().await {
                        heard.lock().expect("no panic").push(request.clone());
                        match rule(&request) {
                            // The caller may have given up.
                            Some(response) => drop(reply.send(response)),
                            None => unanswered.push(reply),
                        }
                    }
                };
                tokio::select! {
                    () = server.run(to_agent) => {}
                    () = answers => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("it starts");
        Self { folder, requests, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the agent's thread panicked");
        }
    }
}

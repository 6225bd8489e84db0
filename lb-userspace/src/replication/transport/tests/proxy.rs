//! A link that can be cut without a word to either side, or made slow.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of bytes on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passage {
    Open,
    /// Each direction carries [`SLOW`] bytes a tenth of a second.
    Slow,
    /// Nothing is carried, and nobody is told: connections stand, and new ones are taken.
    Shut,
}

/// Bytes in 100 ms.
const SLOW: usize = 2048;

/// Dropped, it resets all connections through it.
pub(super) struct Proxy {
    pub address: SocketAddr,
    passage: watch::Sender<Passage>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So small that a sender soon has to wait for the receiver, as on a link that holds little.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let (passage, watched) = watch::channel(Passage::Open);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (caller, _) = listener.accept().await.unwrap();
                let watched = watched.clone();
                connections.spawn(async move {
                    let Ok(called) = TcpStream::connect(target).await else { return };
                    let (from_caller, to_caller) = caller.into_split();
                    let (from_called, to_called) = called.into_split();
                    tokio::select! {
                        () = carry(from_caller, to_called, watched.clone()) => {}
                        () = carry(from_called, to_caller, watched) => {}
                    }
                });
            }
        });
        Self { address, passage, task }
    }

    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passage: watch::Receiver<Passage>,
) {
    let mut piece = [0; SLOW];
    loop {
        let Ok(length) = from.read(&mut piece).await else { return };
        // What was read when the passage was shut stays where it is.
        if passage.wait_for(|passage| *passage != Passage::Shut).await.is_err() || length == 0 {
            return;
        }
        if *passage.borrow() == Passage::Slow {
            tokio::time::sleep(Duration::from_millis(100).mul_f64(length as f64 / SLOW as f64)).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

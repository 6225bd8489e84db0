//! The TCP probe: does the server complete a handshake?

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use super::{Deadline, Outcome};

pub(super) async fn probe(target: SocketAddr, deadline: Deadline) -> Result<Outcome, Outcome> {
    connect(target, deadline).await?;
    Ok(Outcome::Passed(format!("connect {target}: accepted")))
}

/// A connection that is closed with a reset, unless somebody sees to it that the server closes first: see the parent module.
pub(super) async fn connect(target: SocketAddr, deadline: Deadline) -> Result<TcpStream, Outcome> {
    let connecting = async {
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_zero_linger()?;
        socket.set_nodelay(true)?;
        socket.connect(target).await
    };
    deadline.run(&format!("connect {target}"), connecting).await
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Probe;
    use crate::health::probe::{Kit, probe};
    use crate::health::spec::{Ask, Question};

    async fn probe_of(target: SocketAddr) -> Outcome {
        let timeout = Duration::from_millis(300);
        probe(&Question { target, ask: Ask::Health(Probe::Tcp), path: None, timeout }, &Kit::default()).await
    }

    #[tokio::test]
    async fn a_listener_passes_and_is_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let target = listener.local_addr().expect("address");
        assert_eq!(probe_of(target).await, Outcome::Passed(format!("connect {target}: accepted")));
        let (mut connection, _) = listener.accept().await.expect("accept");
        let end = connection.read(&mut [0; 1]).await.expect_err("a reset, so that nobody holds TIME_WAIT");
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn ipv6_passes_too() {
        let listener = TcpListener::bind("[::1]:0").await.expect("listen");
        let target = listener.local_addr().expect("address");
        assert!(matches!(probe_of(target).await, Outcome::Passed(_)));
    }

    #[tokio::test]
    async fn a_closed_port_fails_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let target = listener.local_addr().expect("address");
        drop(listener);
        let began = Instant::now();
        let outcome = probe_of(target).await;
        assert_eq!(outcome, Outcome::Failed(format!("connect {target}: connection refused")));
        assert!(began.elapsed() < Duration::from_millis(300));
    }

    /// A listener whose backlog is full drops further SYNs: a server that hangs, made with the kernel's own means.
    #[tokio::test]
    async fn silence_fails_at_the_deadline() {
        let socket = TcpSocket::new_v4().expect("socket");
        socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let listener = socket.listen(1).expect("listen");
        let target = listener.local_addr().expect("address");
        let mut filling = Vec::new();
        loop {
            let attempt = tokio::net::TcpStream::connect(target);
            match tokio::time::timeout(Duration::from_millis(100), attempt).await {
                Ok(connected) => filling.push(connected.expect("connect")),
                Err(_) => break,
            }
        }
        let began = Instant::now();
        let outcome = probe_of(target).await;
        assert_eq!(outcome, Outcome::Failed(format!("connect {target}: no answer within 300ms")));
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    }
}

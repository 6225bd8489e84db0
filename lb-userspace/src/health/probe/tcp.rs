//! The TCP probe: does the server complete a handshake?

use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::{Deadline, Outcome};

pub(super) async fn probe(target: SocketAddr, deadline: Deadline) -> Outcome {
    let connecting = async {
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_zero_linger()?; // close with a reset: see the parent module
        socket.connect(target).await
    };
    match deadline.run(&format!("connect {target}"), connecting).await {
        Ok(_connection) => Outcome::Passed(format!("connect {target}: accepted")),
        Err(outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::{Duration, Instant};

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::super::probe;
    use super::*;
    use crate::health::spec::{CheckSpec, Kind};
    use crate::health::state::Thresholds;

    fn check(target: SocketAddr) -> CheckSpec {
        CheckSpec {
            target,
            kind: Kind::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(300),
            thresholds: Thresholds { rise: NonZeroU32::MIN, fall: NonZeroU32::MIN },
        }
    }

    #[tokio::test]
    async fn a_listener_passes_and_is_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let target = listener.local_addr().expect("address");
        assert_eq!(probe(&check(target)).await, Outcome::Passed(format!("connect {target}: accepted")));
        let (mut connection, _) = listener.accept().await.expect("accept");
        let end = connection.read(&mut [0; 1]).await.expect_err("a reset, so that nobody holds TIME_WAIT");
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn ipv6_passes_too() {
        let listener = TcpListener::bind("[::1]:0").await.expect("listen");
        let target = listener.local_addr().expect("address");
        assert!(matches!(probe(&check(target)).await, Outcome::Passed(_)));
    }

    #[tokio::test]
    async fn a_closed_port_fails_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let target = listener.local_addr().expect("address");
        drop(listener);
        let began = Instant::now();
        let outcome = probe(&check(target)).await;
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
        let outcome = probe(&check(target)).await;
        assert_eq!(outcome, Outcome::Failed(format!("connect {target}: no answer within 300ms")));
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    }
}

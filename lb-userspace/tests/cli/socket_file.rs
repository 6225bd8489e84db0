//! The control socket as a file.

use lb_userspace::control::{ControlSocket, SocketRefusal};
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn only_its_owner_may_open_it_and_enter_the_folder_made_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run/xlvs.sock");
    let socket = ControlSocket::bind(&path).expect("a socket");
    assert_eq!((mode(&path), mode(&folder.path().join("run"))), (0o600, 0o700));
    assert!(fs::metadata(&path).expect("it is there").file_type().is_socket());
    UnixStream::connect(socket.path()).expect("it listens");
}

#[test]
fn a_folder_that_was_there_keeps_its_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let path = folder.path().join("s");
    let _socket = ControlSocket::bind(&path).expect("a socket");
    assert_eq!((mode(&path), mode(folder.path())), (0o600, 0o755));
}

#[test]
fn nothing_is_left_beside_it_nor_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let entries = || fs::read_dir(folder.path()).expect("a folder").count();
    let socket = ControlSocket::bind(&folder.path().join("s")).expect("a socket");
    assert_eq!(entries(), 1);
    drop(socket);
    assert_eq!(entries(), 0);
}

#[test]
fn a_dead_agents_socket_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists() && UnixStream::connect(&path).is_err());
    let _socket = ControlSocket::bind(&path).expect("it is replaced");
    UnixStream::connect(&path).expect("the new one listens");
}

#[test]
fn a_live_agents_socket_is_refused_and_goes_on_listening() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let _first = ControlSocket::bind(&path).expect("a socket");
    let refusal = ControlSocket::bind(&path).expect_err("it is taken");
    assert!(matches!(refusal, SocketRefusal::Live { .. }), "{refusal}");
    assert!(refusal.to_string().contains("--socket"), "no remedy: {refusal}");
    UnixStream::connect(&path).expect("the first one still listens");
}

#[test]
fn the_socket_of_a_frozen_agent_with_a_full_queue_is_refused_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&socket2::SockAddr::unix(&path).expect("a path")).expect("bind");
    listener.listen(0).expect("listen");
    let mut waiting = Vec::new();
    loop {
        let caller =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
        caller.set_nonblocking(true).expect("non-blocking");
        match caller.connect(&socket2::SockAddr::unix(&path).expect("a path")) {
            Ok(()) => waiting.push(caller),
            Err(_) => break,
        }
        assert!(waiting.len() < 100, "the queue never fills");
    }
    let refusal = ControlSocket::bind(&path).expect_err("it is taken");
    assert!(matches!(refusal, SocketRefusal::Live { .. }), "{refusal}");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    fs::write(&path, "precious").expect("a file");
    let refusal = ControlSocket::bind(&path).expect_err("it is a file");
    assert!(matches!(refusal, SocketRefusal::NotASocket { .. }), "{refusal}");
    assert_eq!(fs::read_to_string(&path).expect("it is still there"), "precious");
}

/// Often enough that it fails almost surely if the folder is not locked meanwhile.
#[test]
fn of_agents_that_start_at_once_one_gets_a_dead_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..200 {
        let path = folder.path().join(round.to_string());
        drop(UnixListener::bind(&path).expect("a socket"));
        let together = Barrier::new(4);
        let start = || {
            together.wait();
            ControlSocket::bind(&path)
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        UnixStream::connect(&path).expect("the winner listens");
    }
}

#[test]
fn the_file_of_a_successor_is_not_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let first = ControlSocket::bind(&path).expect("a socket");
    fs::remove_file(&path).expect("somebody removes it");
    let _second = ControlSocket::bind(&path).expect("another takes the place");
    drop(first);
    UnixStream::connect(&path).expect("the second one still listens");
}

/// A socket's path may have 107 bytes; none of them may be lost to the way it is made.
#[test]
fn the_longest_path_there_is_will_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = "s".repeat(107 - folder.path().as_os_str().len() - 1);
    let path = folder.path().join(name);
    let _socket = ControlSocket::bind(&path).expect("107 bytes fit");
    UnixStream::connect(&path).expect("it listens");
    let refusal = ControlSocket::bind(&path.with_extension("s")).expect_err("109 bytes do not");
    assert!(refusal.to_string().contains("shorter than 108 bytes"), "{refusal}");
}

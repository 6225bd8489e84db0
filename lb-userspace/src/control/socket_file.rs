//! The socket as a file: private from its first instant, and never taken from a live agent.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, thread};

/// How long to wait for another process that prepares a socket in the same folder.
const FOLDER_PATIENCE: Duration = Duration::from_secs(2);

/// Callers that may wait to be accepted.
const QUEUE: i32 = 128;

/// A bound socket; its file goes when this is dropped, unless another agent has replaced it.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    identity: (u64, u64),
    listener: UnixListener,
}

/// Why there is no socket.
#[derive(Debug)]
pub enum SocketRefusal {
    /// An agent listens on it.
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else at its path.
    NotASocket {
        /// That path.
        path: PathBuf,
    },
    /// The operating system refused a step.
    Io {
        /// The step, with its object.
        attempt: String,
        /// Its answer.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Binds the socket: mode 0600, in a folder that is made with mode 0700 if it does not exist.
    ///
    /// The socket of a dead agent is replaced. Blocks for up to two seconds if another process prepares a
    /// socket in the same folder at the same time.
    ///
    /// # Errors
    /// A live agent's socket and a file that is no socket are left alone and refused.
    pub fn bind(path: &Path) -> Result<Self, SocketRefusal> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        make_private_folder(folder)?;
        // Held until the socket is in place: two agents that start at once must not both find a dead
        // socket and both replace it.
        let _turn = lock_folder(folder)?;
        clear_the_dead(path)?;
        let listener = listen_privately(path)?;
        let identity = fs::symlink_metadata(path)
            .map(|file| identity(&file))
            .map_err(|source| refused("look at the control socket", path, source))?;
        Ok(Self { path: path.to_owned(), identity, listener })
    }

    /// The listener, for a runtime of the caller's choice.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Nothing to be done about a failure here, and a dead socket is replaced by the next agent.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a socket whose file has mode 0600 from its first instant.
///
/// The file gets the mode of the socket's own inode, less the umask (`unix_bind_bsd` in the kernel's
/// net/unix/af_unix.c), so the mode is set before there is a file.
fn listen_privately(path: &Path) -> Result<UnixListener, SocketRefusal> {
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let inode = File::from(OwnedFd::from(socket));
        inode.set_permissions(Permissions::from_mode(0o600))?;
        let socket = Socket::from(OwnedFd::from(inode));
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(QUEUE)?;
        Ok(UnixListener::from(OwnedFd::from(socket)))
    };
    bind().map_err(|source| refused("listen on the control socket", path, source))
}

fn make_private_folder(folder: &Path) -> Result<(), SocketRefusal> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| refused("make the control socket's folder", folder, source))
}

fn lock_folder(folder: &Path) -> Result<File, SocketRefusal> {
    let deadline = Instant::now() + FOLDER_PATIENCE;
    let file =
        File::open(folder).map_err(|source| refused("open the control socket's folder", folder, source))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => {
                return Err(refused("lock the control socket's folder", folder, error.into()));
            }
        }
    }
}

/// Removes a dead agent's socket; refuses anything else.
fn clear_the_dead(path: &Path) -> Result<(), SocketRefusal> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(refused("look at the control socket", path, source)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketRefusal::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match super::client::connect(path, Duration::from_secs(1)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|source| refused("remove a dead agent's control socket", path, source)),
        // A full queue (WouldBlock) is a live agent too, though one that does not answer now.
        Ok(_) | Err(_) => Err(SocketRefusal::Live { path: path.to_owned() }),
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn refused(attempt: &str, object: &Path, source: io::Error) -> SocketRefusal {
    SocketRefusal::Io { attempt: format!("{attempt} {}", object.display()), source }
}

impl fmt::Display for SocketRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live { path } => write!(
                f,
                "an agent already listens on {path}; stop it first, or give this one another socket with --socket",
                path = path.display()
            ),
            Self::NotASocket { path } => write!(
                f,
                "{path} is not a socket, and is left alone; remove it, or give another path with --socket",
                path = path.display()
            ),
            Self::Io { attempt, source } => write!(
                f,
                "could not {attempt}: {source}; is its folder writable (root?), and its path shorter than 108 bytes?"
            ),
        }
    }
}

impl std::error::Error for SocketRefusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Live { .. } | Self::NotASocket { .. } => None,
        }
    }
}

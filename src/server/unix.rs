//! Unix sockets: files that programs on this machine connect to.
//!
//! A file that a broker left behind when it was killed is replaced; one on which somebody
//! listens, or that is no socket, is left alone. Knows nothing of MQTT.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::tcp::BACKLOG;
use crate::config::UnixSocket;

/// A bound socket. Its file goes when it does.
#[derive(Debug)]
pub struct BoundFile {
    listener: UnixListener,
    path: PathBuf,
    /// Which file it is: another one may have come to its path meanwhile.
    identity: (u64, u64),
}

impl BoundFile {
    /// The next connection. Safe to cancel.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        let is_ours = |file: Metadata| identity(&file) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // What stays behind the next broker replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Binds the socket. Nobody can connect before its permissions are set.
pub(super) fn listen(configured: &UnixSocket) -> io::Result<BoundFile> {
    let path = configured.path.as_path();
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path)?;
        socket.bind(&address)?;
    }
    let identity = identity(&fs::symlink_metadata(path)?);
    fs::set_permissions(path, Permissions::from_mode(configured.mode))?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok(BoundFile { listener, path: path.to_owned(), identity })
}

/// Removes a socket on which nobody listens any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let cause = "a file that is no socket is there: remove it, or choose another path";
        return Err(io::Error::new(ErrorKind::AlreadyExists, cause));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose backlog is full would make us wait.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => {
            let cause = "another process listens there: stop it, or choose another path";
            Err(io::Error::new(ErrorKind::AddrInUse, cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let name = format!("stormpetrel-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        path
    }

    fn bind(path: &Path, mode: u32) -> io::Result<BoundFile> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _runtime = runtime.as_ref().expect("a runtime").enter();
        listen(&UnixSocket { path: path.to_owned(), mode })
    }

    #[test]
    fn the_file_has_the_mode_and_goes_with_the_listener() {
        let path = path("mode");
        for mode in [0o600, 0o666, 0o660] {
            let bound = bind(&path, mode).expect("it is free");
            let file = fs::symlink_metadata(&path).expect("it is there");
            assert_eq!(file.permissions().mode() & 0o777, mode);
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_that_is_in_use_is_left_alone() {
        let path = path("taken");
        let bound = bind(&path, 0o600).expect("it is free");
        let error = bind(&path, 0o600).expect_err("somebody listens");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("another process listens there"), "{error}");
        drop(bound);

        fs::write(&path, "text").expect("a temporary file");
        let error = bind(&path, 0o600).expect_err("it is no socket");
        assert!(error.to_string().contains("no socket is there"), "{error}");
        assert_eq!(fs::read(&path).expect("it is there"), b"text");
        fs::remove_file(&path).expect("it is ours");
    }

    #[test]
    fn a_file_that_was_left_behind_is_replaced() {
        let path = path("stale");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("it is free"));
        assert!(path.exists(), "std leaves it behind, as one that is killed does");
        let bound = bind(&path, 0o600).expect("nobody listens");

        // And what is there when it ends is not removed if it is another's.
        fs::remove_file(&path).expect("it is ours");
        fs::write(&path, "another's").expect("a temporary file");
        drop(bound);
        assert!(path.exists());
        fs::remove_file(&path).expect("it is ours");
    }

    #[test]
    fn a_path_that_cannot_be_had_is_an_error() {
        assert!(bind(Path::new("/no/such/folder/mqtt.sock"), 0o600).is_err());
        assert!(bind(&std::env::temp_dir().join("x".repeat(200)), 0o600).is_err());
    }
}

//! A `RabbitMQ` of a test's own, whose log and connections the test looks at.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

/// The server; killed and removed when it is dropped.
pub struct Server {
    folder: TempDir,
    pub url: String,
}

impl Server {
    /// Starts one whose configuration has the lines of `more` as well; `files` are put beside it.
    pub async fn start(more: impl FnOnce(&Path) -> String, files: &[(&str, &str)]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let mut builder = tempfile::Builder::new();
        // The server may run as a user of its own, who has to pass through the folder.
        let builder = builder.prefix("ringback-mq.").permissions(std::fs::Permissions::from_mode(0o711));
        let folder = builder.tempdir_in("/tmp").expect("a temporary folder");
        let mut server = Self { folder, url: String::new() };
        let state = server.state();
        std::fs::create_dir(&state).expect("a folder");
        for (name, text) in files {
            std::fs::write(state.join(name), text).expect("written");
        }
        std::fs::write(state.join("extra.conf"), more(&state)).expect("written");
        let started =
            Command::new(script()).arg("start").arg(&state).output().await.expect("the script runs");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        String::from_utf8_lossy(&started.stdout).trim().clone_into(&mut server.url);
        server
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state().join("server.log")).expect("a log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The test is over; a server that can't be killed is shown by its folder, which then stays.
        let _ = std::process::Command::new(script()).arg("kill").arg(self.state()).output();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/servers/rabbitmq")
}

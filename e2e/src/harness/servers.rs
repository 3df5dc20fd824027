//! Postgres and `RabbitMQ` of a test's own, to be killed and started again under load.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

/// A server program that `scripts/servers` can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `scripts/servers/postgres`.
    Postgres,
    /// `scripts/servers/rabbitmq`.
    RabbitMq,
}

impl Program {
    fn script(self) -> PathBuf {
        let name = match self {
            Self::Postgres => "postgres",
            Self::RabbitMq => "rabbitmq",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/servers").join(name)
    }
}

/// A server whose whole state is one folder. Killed and removed when dropped.
pub struct PrivateServer {
    program: Program,
    folder: TempDir,
    url: String,
}

impl PrivateServer {
    /// Starts one, and waits until it answers.
    pub async fn start(program: Program) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let mut builder = tempfile::Builder::new();
        // The server may run as a user of its own, who has to pass through the folder.
        let builder = builder.prefix("ringback-e2e.").permissions(std::fs::Permissions::from_mode(0o711));
        let folder = builder.tempdir_in("/tmp").expect("a temporary folder");
        let mut server = Self { program, folder, url: String::new() };
        server.start_again().await;
        server
    }

    /// Its address with an administrator's credentials; the same after every start.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts it where it was, with what it had stored.
    pub async fn start_again(&mut self) {
        self.url = self.run("start").await;
    }

    /// A clean stop; returns when it is gone.
    pub async fn stop(&self) {
        self.run("stop").await;
    }

    /// SIGKILL to all of its processes; returns when they are gone.
    pub async fn kill(&self) {
        self.run("kill").await;
    }

    /// The folder with its whole state.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    async fn run(&self, what: &str) -> String {
        let script = self.program.script();
        let ran = Command::new(&script).arg(what).arg(self.state()).output().await;
        let output = ran.unwrap_or_else(|error| panic!("{} does not run: {error}", script.display()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {what}: {errors}", script.display());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // The test is over; a server that can't be killed is shown by its folder, which then stays.
        let _ = std::process::Command::new(self.program.script()).arg("kill").arg(self.state()).output();
    }
}

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
        let mut server = Self { program, folder: folder(), url: String::new() };
        server.start_again().await;
        server
    }

    /// A standby of this Postgres: a copy that follows it, as a server of its own.
    pub async fn standby(&self) -> Self {
        let mut standby = Self { program: self.program, folder: folder(), url: String::new() };
        let primary = self.state().display().to_string();
        standby.url = standby.run(&["standby", &standby.state().display().to_string(), &primary]).await;
        standby
    }

    /// Makes a standby take writes.
    pub async fn promote(&self) {
        self.of_state("promote").await;
    }

    /// Its address with an administrator's credentials; the same after every start.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts it where it was, with what it had stored.
    pub async fn start_again(&mut self) {
        self.url = self.of_state("start").await;
    }

    /// A clean stop; returns when it is gone.
    pub async fn stop(&self) {
        self.of_state("stop").await;
    }

    /// SIGKILL to all of its processes; returns when they are gone.
    pub async fn kill(&self) {
        self.of_state("kill").await;
    }

    /// The folder with its whole state.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    async fn of_state(&self, what: &str) -> String {
        self.run(&[what, &self.state().display().to_string()]).await
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let script = self.program.script();
        let ran = Command::new(&script).args(arguments).output().await;
        let output = ran.unwrap_or_else(|error| panic!("{} does not run: {error}", script.display()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {}: {errors}", script.display(), arguments[0]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The server may run as a user of its own, who has to pass through the folder.
fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("ringback-test.").permissions(std::fs::Permissions::from_mode(0o711));
    builder.tempdir_in("/tmp").expect("a temporary folder")
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // The test is over; a server that can't be killed is shown by its folder, which then stays.
        let _ = std::process::Command::new(self.program.script()).arg("kill").arg(self.state()).output();
    }
}

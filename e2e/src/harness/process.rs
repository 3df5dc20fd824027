//! A program under test as a process: started, killed, terminated, started again, its log kept.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use super::binaries;
use super::wait::eventually;

/// How much of a log is shown when a test fails.
const SHOWN_LINES: usize = 60;

/// One program with its arguments and environment. Killed when dropped; when the test is failing
/// then, the end of its log is shown.
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// `program` of this workspace, not yet started; its log is `<name>.log` in `folder`.
    pub fn new(program: &str, name: &str, folder: &Path) -> Self {
        Self::foreign(binaries::path(program), name, folder)
    }

    /// The same with a program that is not of this workspace, by its path or, where it is given a `PATH`, its name.
    pub fn foreign(program: PathBuf, name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            log: folder.join(format!("{name}.log")),
            child: None,
        }
    }

    /// The same with an argument more.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The same with an environment variable more; it has nothing of the environment of the test.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it; it must not be running.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} is running already", self.name);
        let log = |file: &Path| -> File {
            OpenOptions::new().create(true).append(true).open(file).expect("the log file can be written")
        };
        let child = self
            .command()
            .stdout(log(&self.log))
            .stderr(log(&self.log))
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        self.child = Some(child);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.log.parent().expect("the log is in a folder"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it once more to its end, beside the one that may be running, with further arguments.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments);
        let ran = tokio::process::Command::from(command).output().await;
        ran.unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()))
    }

    /// Whether it has been started and not been killed.
    pub fn was_started(&self) -> bool {
        self.child.is_some()
    }

    /// Its number while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has been started and has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGKILL: no chance to finish anything. Returns when it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// SIGTERM: the request to end in order.
    pub fn terminate(&self) {
        let child = self.child.as_ref().expect("it is running");
        let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} takes a signal", self.name);
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let child = self.child.as_mut().expect("it was started");
        let ended = async || child.try_wait().expect("a child can be waited for");
        let status = eventually(&what, within, ended).await;
        self.child = None;
        status
    }

    /// Everything it has logged so far, over all of its starts.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        eprintln!("---- the end of the log of {} ----\n{shown}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        if let Some(child) = &mut self.child {
            // It may have ended by itself; whatever fails here, the test is over.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

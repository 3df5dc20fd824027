//! What the figures were taken on.

use std::process::Command;

use serde::Serialize;

/// The machine and the versions of what ran.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of its cores there are.
    pub cores: usize,
    /// Memory, GiB.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The commit that was built, with `-dirty` when there were changes.
    pub commit: String,
    /// Postgres, where it ran.
    pub postgres: Option<String>,
    /// `RabbitMQ`, where it ran.
    pub rabbitmq: Option<String>,
    /// The 1 minute load average before anything was started.
    pub load_before: String,
}

impl Machine {
    /// Looks at this machine. The servers' versions are filled in later.
    pub fn look() -> Self {
        let memory = field("/proc/meminfo", "MemTotal:");
        let kib: u64 = memory.trim_end_matches(" kB").trim().parse().unwrap_or(0);
        Self {
            processor: field("/proc/cpuinfo", "model name").trim_start_matches([':', ' ']).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit(),
            postgres: None,
            rabbitmq: None,
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn commit() -> String {
    let described = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    described.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// What follows `name` on the first line that begins with it.
fn field(file: &str, name: &str) -> String {
    let text = read(file);
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_default().trim().to_owned()
}

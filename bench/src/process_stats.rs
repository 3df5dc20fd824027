//! What a process has used, as the kernel tells it.

use std::collections::HashMap;

/// A process and everything it started.
#[derive(Debug, Clone, Copy)]
pub struct Family(pub u32);

/// The kernel's unit of CPU time in `/proc` (`USER_HZ`, the same on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

impl Family {
    /// CPU seconds used by the living members so far.
    pub fn cpu_seconds(self) -> f64 {
        let all = all();
        let mut ticks = 0;
        let mut members = vec![self.0];
        while let Some(member) = members.pop() {
            if let Some((_, used)) = all.get(&member) {
                ticks += used;
            }
            members.extend(all.iter().filter(|(_, (parent, _))| *parent == member).map(|(pid, _)| *pid));
        }
        ticks as f64 / TICKS_PER_SECOND
    }
}

/// CPU seconds that one process has used, without its children.
pub fn cpu_seconds_alone(process: u32) -> f64 {
    of(process).map_or(0.0, |(_, ticks)| ticks as f64 / TICKS_PER_SECOND)
}

/// The most memory a process has had resident, MiB.
pub fn peak_memory_mib(process: u32) -> f64 {
    memory(process, "VmHWM:")
}

/// The memory a process has resident now, MiB.
pub fn memory_mib(process: u32) -> f64 {
    memory(process, "VmRSS:")
}

fn memory(process: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// Every process: its parent and its CPU time in ticks.
fn all() -> HashMap<u32, (u32, u64)> {
    let Ok(folders) = std::fs::read_dir("/proc") else { return HashMap::new() };
    let numbers = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(|pid| Some((pid, of(pid)?))).collect()
}

fn of(process: u32) -> Option<(u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may have spaces; the fields after it are counted from `state` (3).
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some((u32::try_from(number(4)?).ok()?, number(14)? + number(15)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_parent() {
        let this = std::process::id();
        assert!(memory_mib(this) > 0.0);
        assert!(peak_memory_mib(this) >= memory_mib(this) / 2.0);
        assert!(of(this).is_some_and(|(parent, _)| parent > 0));
    }
}

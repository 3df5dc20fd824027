//! The file descriptors of this process, and what each use of them may take.
//!
//! Callers' connections, webhooks under way and database connections are each bounded by a share of
//! the limit, so that no one of them leaves nothing for the others: an eighth for each listener, of
//! which a process has up to three, a quarter for work under way, the rest for databases, the broker
//! and files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Callers' connections of one listener, however many descriptors there are.
const MAX_CONNECTIONS: u64 = 4096;
/// Where there are hardly any, a listener must still be able to serve.
const MIN_CONNECTIONS: u64 = 8;
/// Some systems report no limit and refuse to set one above this.
const MAX_RAISED: u64 = 1 << 20;

/// Raises the soft limit to the hard one, as far as the system lets it.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(MAX_RAISED), maximum.unwrap_or(MAX_RAISED).min(MAX_RAISED));
    if soft < hard
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum })
    {
        tracing::warn!(descriptors.limit = soft, %error, "descriptors.not_raised");
    }
    tracing::debug!(descriptors.limit = limit(), "descriptors.raised");
}

/// How many of `setting`'s `wanted` connections there may be at once; where that is fewer, the log
/// says so. For what a setting bounds: webhooks under way, connections to Postgres.
pub fn affordable(setting: &'static str, wanted: u32) -> u32 {
    let share = share_of_work(limit());
    if wanted <= share {
        return wanted;
    }
    tracing::warn!(setting, wanted, allowed = share, descriptors.limit = limit(), "descriptors.too_few");
    share
}

/// How many callers' connections one listener may hold.
pub(crate) fn connections() -> usize {
    usize::try_from(share_of_listener(limit())).expect("at most 4096")
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(MAX_RAISED)
}

fn share_of_listener(limit: u64) -> u64 {
    (limit / 8).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

fn share_of_work(limit: u64) -> u32 {
    u32::try_from((limit / 4).max(2)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_leave_a_part_for_databases_and_files() {
        for limit in [64, 256, 1024, 4096, 65_536, MAX_RAISED] {
            let taken = 3 * share_of_listener(limit) + u64::from(share_of_work(limit));
            assert!(taken <= limit * 5 / 8, "{taken} of {limit}");
        }
        assert_eq!((share_of_listener(1024), share_of_work(1024)), (128, 256));
        assert_eq!(share_of_listener(MAX_RAISED), MAX_CONNECTIONS);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert!(current.unwrap_or(MAX_RAISED) >= maximum.unwrap_or(MAX_RAISED).min(MAX_RAISED));
    }
}

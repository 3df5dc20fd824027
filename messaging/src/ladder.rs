//! The ladder: how long to wait before each repetition, as pure functions.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use runtime::duration::HumanDuration;
use runtime::validation::{Invalid, Violations};
use serde::{Deserialize, Serialize};

/// The most steps a ladder may have.
pub const MAX_STEPS: usize = 20;
/// The shortest step.
pub const MIN_STEP: Duration = Duration::from_secs(1);
/// The longest step; also the longest wait that a receiver's `Retry-After` can ask for.
pub const MAX_STEP: Duration = Duration::from_hours(24);

/// Waits between attempts: the first attempt comes at once, and attempt `n + 1` comes step `n`
/// after attempt `n` failed. When the last step's attempt fails, the delivery is exhausted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ladder(Vec<HumanDuration>);

/// A ladder that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 1m 5m 10m 30m 1h 2h 5h 10h.
    Standard,
    /// WeChat Pay's published schedule: 15s 15s 30s 3m 10m 20m 30m 30m 30m 1h 3h 3h 3h 6h 6h.
    Wechatpay,
    /// Alipay's published schedule: 4m 10m 10m 1h 2h 6h 15h.
    Alipay,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Wechatpay, Self::Alipay];

    /// Its name, as it is read and written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Wechatpay => "wechatpay",
            Self::Alipay => "alipay",
        }
    }
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next attempt, not before this time.
    RetryAt(DateTime<Utc>),
    /// There is no step left.
    Exhausted,
}

impl Ladder {
    /// A ladder of 1 to 20 steps of 1 s to 24 h.
    pub fn new(steps: Vec<HumanDuration>) -> Result<Self, Invalid> {
        let mut violations = Violations::new();
        let count = steps.len();
        violations.require(
            (1..=MAX_STEPS).contains(&count),
            "ladder",
            format!("must have 1 to {MAX_STEPS} steps"),
        );
        let bounded = |step: &HumanDuration| (MIN_STEP..=MAX_STEP).contains(&step.0);
        violations.require(steps.iter().all(bounded), "ladder", "each step must be 1s to 24h");
        violations.finish()?;
        Ok(Self(steps))
    }

    /// The named ladder.
    pub fn preset(preset: Preset) -> Self {
        let seconds: &[u64] = match preset {
            Preset::Standard => &[60, 300, 600, 1800, 3600, 7200, 18000, 36000],
            Preset::Wechatpay => {
                &[15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600]
            }
            Preset::Alipay => &[240, 600, 600, 3600, 7200, 21600, 54000],
        };
        Self(seconds.iter().map(|s| HumanDuration(Duration::from_secs(*s))).collect())
    }

    /// The waits, in their order.
    pub fn steps(&self) -> &[HumanDuration] {
        &self.0
    }

    /// The wait after `failed` failed attempts; `None` when the ladder ends there.
    pub fn wait_after(&self, failed: u32) -> Option<Duration> {
        let step = usize::try_from(failed).ok()?.checked_sub(1)?;
        self.0.get(step).map(|wait| wait.0)
    }

    /// What follows when attempt number `failed` of this climb has failed at `now`. A receiver's
    /// `retry_after` delays the next attempt, by 24 h at the most, and never brings it forward.
    pub fn next(&self, failed: u32, now: DateTime<Utc>, retry_after: Option<Duration>) -> Next {
        match self.wait_after(failed) {
            None => Next::Exhausted,
            Some(step) => {
                let wait = retry_after.map_or(step, |asked| step.max(asked.min(MAX_STEP)));
                Next::RetryAt(now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1)))
            }
        }
    }
}

/// A preset's name, or steps separated by commas or spaces: `1m,5m,10m`.
impl FromStr for Ladder {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.trim() {
            "standard" => return Ok(Self::preset(Preset::Standard)),
            "wechatpay" => return Ok(Self::preset(Preset::Wechatpay)),
            "alipay" => return Ok(Self::preset(Preset::Alipay)),
            _ => {}
        }
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let wrong = "must be `standard`, `wechatpay`, `alipay` or steps such as `1m,5m,10m`";
        let steps = words.map(str::parse).collect::<Result<_, _>>();
        Self::new(steps.map_err(|_| Invalid::field("ladder", wrong))?)
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self::preset(Preset::Standard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    #[test]
    fn the_standard_ladder_waits_its_eight_steps_and_is_then_exhausted() {
        let ladder = Ladder::default();
        let waits: Vec<String> = ladder.steps().iter().map(ToString::to_string).collect();
        assert_eq!(waits, ["1m", "5m", "10m", "30m", "1h", "2h", "5h", "10h"]);
        assert_eq!(ladder.next(1, now(), None), Next::RetryAt(now() + TimeDelta::minutes(1)));
        assert_eq!(ladder.next(8, now(), None), Next::RetryAt(now() + TimeDelta::hours(10)));
        assert_eq!(ladder.next(9, now(), None), Next::Exhausted);
    }

    #[test]
    fn retry_after_delays_up_to_a_day_and_never_brings_forward() {
        let ladder = Ladder::default();
        let at = |seconds| ladder.next(1, now(), Some(Duration::from_secs(seconds)));
        assert_eq!(at(10), Next::RetryAt(now() + TimeDelta::seconds(60)));
        assert_eq!(at(90), Next::RetryAt(now() + TimeDelta::seconds(90)));
        assert_eq!(at(u64::MAX), Next::RetryAt(now() + TimeDelta::days(1)));
    }

    #[test]
    fn presets_last_as_long_as_their_providers_say() {
        let total = |preset| Ladder::preset(preset).steps().iter().map(|s| s.0.as_secs()).sum::<u64>();
        assert_eq!(total(Preset::Wechatpay), 24 * 3600 + 4 * 60);
        assert_eq!(total(Preset::Alipay), 24 * 3600 + 24 * 60);
    }

    #[test]
    fn a_ladder_is_written_as_a_preset_or_as_its_steps() {
        for (text, steps) in
            [("standard", 8), ("wechatpay", 15), (" alipay ", 7), ("1s,2s, 1m", 3), ("5m 1h", 2)]
        {
            let ladder: Ladder = text.parse().expect(text);
            assert_eq!(ladder.steps().len(), steps, "{text}");
        }
        for text in ["", "Standard", "soon", "1s;2s", "1ms", "25h"] {
            let refused = text.parse::<Ladder>().expect_err(text);
            assert!(refused.to_string().contains("ladder"), "{refused}");
        }
    }

    #[test]
    fn a_ladder_without_steps_or_with_one_out_of_bounds_is_refused() {
        for steps in [vec![], vec!["1s"; 21], vec!["500ms"], vec!["25h"]] {
            let steps = steps.iter().map(|s| s.parse().expect("a duration")).collect();
            assert!(Ladder::new(steps).is_err());
        }
    }
}

//! Whether spans are exported, and which.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use url::Url;

use super::TraceContext;

/// The settings of traces.
#[derive(Debug, Clone, Args)]
pub struct TraceSettings {
    /// An OTLP collector, such as `http://127.0.0.1:4318`, that spans are sent to; none if absent
    #[arg(long, env = "OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// The share of events whose trace is exported where their publisher has not decided: 0 to 1
    #[arg(long, env = "OTLP_SAMPLE_RATIO", value_name = "SHARE", default_value = "1")]
    pub otlp_sample_ratio: SampleRatio,
}

/// A collector's base URL; `/v1/traces` is added to its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Url);

/// The text is no collector's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an http:// or https:// URL without user and query, such as `http://127.0.0.1:4318`")]
pub struct NotAnEndpoint;

impl OtlpEndpoint {
    /// Where traces are posted.
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for OtlpEndpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        let url = Url::parse(text).map_err(|_| NotAnEndpoint)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let web = matches!(url.scheme(), "http" | "https") && url.fragment().is_none();
        if plain && web { Ok(Self(url)) } else { Err(NotAnEndpoint) }
    }
}

/// A share, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio(f64);

/// The text is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0 to 1")]
pub struct NotAShare;

impl SampleRatio {
    /// Whether the trace belongs to the share. Every process with the same share says the same.
    pub fn takes(self, context: &TraceContext) -> bool {
        let lot = u32::try_from(context.trace_id() >> 96).expect("the first 32 of 128 bits");
        f64::from(lot) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

impl FromStr for SampleRatio {
    type Err = NotAShare;

    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let share: f64 = text.parse().map_err(|_| NotAShare)?;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(NotAShare) }
    }
}

impl fmt::Display for SampleRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_url_of_a_collector_and_holds_no_secret() {
        for (text, posted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/base/", "https://otel.example/base/v1/traces"),
        ] {
            assert_eq!(text.parse::<OtlpEndpoint>().expect(text).traces(), posted);
        }
        for text in ["", "localhost:4318", "grpc://x", "http://u:p@x", "http://x/?key=1"] {
            assert_eq!(text.parse::<OtlpEndpoint>(), Err(NotAnEndpoint), "{text}");
        }
    }

    #[test]
    fn a_share_takes_that_share_of_the_traces() {
        let taken = |share: &str| {
            let share: SampleRatio = share.parse().expect("a share");
            (0..1000).filter(|n| share.takes(&TraceContext::of_event(None, &n.to_string()))).count()
        };
        assert_eq!((taken("0"), taken("1")), (0, 1000));
        assert!((150..350).contains(&taken("0.25")), "{}", taken("0.25"));
        for text in ["", "2", "-0.1", "NaN", "half"] {
            assert_eq!(text.parse::<SampleRatio>(), Err(NotAShare), "{text}");
        }
    }
}

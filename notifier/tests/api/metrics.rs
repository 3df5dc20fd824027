//! What Prometheus sees.

use runtime::testing::metrics::assert_documented;

use super::harness::Harness;

#[tokio::test]
async fn the_page_of_metrics_says_what_is_shown() {
    let harness = Harness::new().await;
    harness.get("", "/healthz").await.answered(200);
    let shown = harness.get("", "/metrics").await.answered(200);
    assert_documented("notifier", shown.as_str().expect("text"));
}

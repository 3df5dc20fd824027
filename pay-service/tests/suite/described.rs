//! The interface description.

use runtime::testing::metrics::assert_documented;

use crate::support::harness::Harness;

#[tokio::test]
async fn every_endpoint_is_described_with_its_parameters_and_its_problems() {
    let service = Harness::start().await;
    let description = service.get("", "/openapi.json").await.body;
    for (path, method, parameters, statuses) in [
        (
            "/v1/recharges",
            "post",
            0,
            vec!["200", "201", "400", "401", "403", "409", "413", "415", "422", "503"],
        ),
        ("/v1/recharges", "get", 8, vec!["200", "400", "401", "404", "503"]),
        ("/v1/payresult", "get", 2, vec!["200", "400", "401", "404", "503"]),
        ("/v1/payresult/{tx_no}", "get", 1, vec!["200", "401", "404", "503"]),
        (
            "/v1/callbacks/{channel}",
            "post",
            4,
            vec!["200", "400", "401", "404", "409", "413", "415", "422", "503"],
        ),
    ] {
        let operation = &description["paths"][path][method];
        let mut described: Vec<&String> =
            operation["responses"].as_object().unwrap_or_else(|| panic!("{method} {path}")).keys().collect();
        described.sort_unstable();
        assert_eq!(described, statuses, "{method} {path}");
        let described = operation["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(described, parameters, "{method} {path} {operation}");
    }
}

#[tokio::test]
async fn the_page_of_metrics_says_what_is_shown() {
    let service = Harness::start().await;
    service.get("", "/healthz").await;
    let shown = service.get("", "/metrics").await.body;
    assert_documented("pay-service", shown.as_str().expect("text"));
}

//! The interface description.

use axum::body::Body;
use runtime::testing::description::{assert_sound, empty_parameters, operations};
use runtime::testing::metrics::assert_documented;

use crate::support::harness::{Harness, OPERATOR, SHOP, with_key};

#[tokio::test]
async fn every_endpoint_is_described_with_its_parameters_and_its_problems() {
    let service = Harness::start().await;
    let description = service.get("", "/openapi.json").await.body;
    for (path, method, parameters, statuses) in [
        (
            "/v1/recharges",
            "post",
            0,
            vec!["200", "201", "400", "401", "403", "408", "409", "413", "415", "422", "500", "503"],
        ),
        ("/v1/recharges", "get", 8, vec!["200", "400", "401", "404", "500", "503"]),
        ("/v1/payresult", "get", 2, vec!["200", "400", "401", "404", "500", "503"]),
        ("/v1/payresult/{tx_no}", "get", 1, vec!["200", "401", "404", "500", "503"]),
        (
            "/v1/callbacks/{channel}",
            "post",
            4,
            vec!["200", "400", "401", "404", "408", "409", "413", "415", "422", "500", "503"],
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

#[tokio::test]
async fn clients_can_be_made_from_the_description() {
    let service = Harness::start().await;
    assert_sound(&service.get("", "/openapi.json").await.body);
}

/// The example of what is signed for is taken as far as its signature.
#[tokio::test]
async fn every_example_of_the_description_is_taken() {
    let service = Harness::start().await;
    let document = service.get("", "/openapi.json").await.body;
    for operation in operations(&document) {
        let Some(example) = operation.example(&document) else { continue };
        let request = with_key(&operation.method, &operation.example_path(), SHOP);
        let request =
            request.header("content-type", "application/json").body(Body::from(example.to_string()));
        let answer = service.send(request.expect("a request")).await;
        let expected = if operation.is_keyed() { 201 } else { 401 };
        assert_eq!(answer.status, expected, "{}: {}", operation.id(), answer.body);
    }
}

#[tokio::test]
async fn a_parameter_with_an_empty_value_answers_400_naming_it() {
    let service = Harness::start().await;
    let document = service.get("", "/openapi.json").await.body;
    for (method, path, parameter) in empty_parameters(&document) {
        let request = with_key(&method, &path, OPERATOR).body(Body::empty());
        let answer = service.send(request.expect("a request")).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.body["errors"][0]["field"], parameter.as_str(), "{path}: {}", answer.body);
    }
}

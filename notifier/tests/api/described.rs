//! The interface description.

use runtime::testing::description::{assert_sound, empty_parameters, operations};

use super::harness::{Harness, OPERATOR, SHOP};

#[tokio::test]
async fn clients_can_be_made_from_the_description() {
    let document = Harness::new().await.get("", "/openapi.json").await.answered(200);
    assert_sound(&document);
    assert_eq!(operations(&document).iter().filter(|one| one.path.starts_with("/v1/")).count(), 21);
    assert!(document["webhooks"]["notification"]["post"]["requestBody"].is_object(), "{document}");
}

/// Where what it is about is not there, the example is read before that shows.
#[tokio::test]
async fn every_example_of_the_description_is_taken() {
    let harness = Harness::new().await;
    let document = harness.get("", "/openapi.json").await.answered(200);
    for operation in operations(&document) {
        let Some(example) = operation.example(&document) else { continue };
        let answer = harness.call(SHOP, &operation.method, &operation.example_path(), Some(example)).await;
        let expected = if operation.id() == "createSubscription" { 201 } else { 404 };
        assert_eq!(answer.status, expected, "{}: {}", operation.id(), answer.body);
    }
}

#[tokio::test]
async fn a_parameter_with_an_empty_value_answers_400_naming_it() {
    let harness = Harness::new().await;
    let document = harness.get("", "/openapi.json").await.answered(200);
    for (method, path, parameter) in empty_parameters(&document) {
        harness.call(OPERATOR, &method, &path, None).await.refused(400, Some(&parameter));
    }
}

#[tokio::test]
async fn a_list_of_states_is_taken_in_one_parameter_or_in_several() {
    let harness = Harness::new().await;
    for query in ["state=held,pending&failure_class=dns", "state=held&failure_class=dns&state=pending"] {
        harness.get(SHOP, &format!("/v1/notifications?{query}")).await.answered(200);
    }
    harness.get(SHOP, "/v1/notifications?state=held&state=lost").await.refused(400, Some("state"));
    harness.get(SHOP, "/v1/notifications?limit=1&limit=2").await.refused(400, None);
}

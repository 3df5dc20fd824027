//! The interface description.

use axum::body::Body;
use axum::http::Method;
use runtime::testing::description::{assert_sound, empty_parameters, operations};

use crate::support::database::Database;
use crate::support::service::{OPERATOR, World, request};

pub async fn clients_can_be_made_from_the_description(database: Database) {
    let document = World::new(database).await.get("/openapi.json").await.body;
    assert_sound(&document);
}

/// What is asked for need not be there: the example is read before that shows. One is signed for.
pub async fn every_example_of_the_description_is_taken(database: Database) {
    let world = World::new(database).await;
    let document = world.get("/openapi.json").await.body;
    for operation in operations(&document) {
        let Some(example) = operation.example(&document) else { continue };
        let method = operation.method.parse::<Method>().expect("a method");
        let request = request(method, &operation.example_path(), OPERATOR, Body::from(example.to_string()));
        let answer = world.call(request).await;
        assert!(![400, 415, 422].contains(&answer.status), "{}: {answer:?}", operation.id());
    }
}

pub async fn a_parameter_with_an_empty_value_answers_400_naming_it(database: Database) {
    let world = World::new(database).await;
    let document = world.get("/openapi.json").await.body;
    for (_, path, parameter) in empty_parameters(&document) {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], parameter.as_str(), "{path}: {answer:?}");
    }
}

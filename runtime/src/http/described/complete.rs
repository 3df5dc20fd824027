//! What the description of every endpoint has in common, added where it can't be said beside the endpoint.

use std::collections::BTreeMap;

use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{ArrayItems, SchemaType};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Array, Content, OpenApi, Ref, RefOr, Response, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::schemas::integer;
use crate::http::operations;
use crate::problem::Problem;
use crate::validation::FieldError;

/// The description of a whole service: `endpoints` with the operations that every service has.
pub fn complete(endpoints: OpenApi) -> OpenApi {
    let mut whole = endpoints.merge_from(operations::description());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The operator's key, or a merchant's, which sees that merchant's affairs alone"))
        .build();
    let components = whole.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into(), Problem::schema());
    components.schemas.insert(FieldError::name().into(), FieldError::schema());
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    share_items(&mut components.schemas);
    for item in whole.paths.paths.values_mut() {
        operations_of(item).for_each(complete_operation);
    }
    whole
}

/// A list's items are written out in full, since its type is generic: they become the component of that name.
fn share_items(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let mut shared = Vec::new();
    for (name, list) in schemas.iter_mut() {
        let (Some(item), RefOr::T(Schema::Object(list))) = (name.strip_prefix("List_"), list) else {
            continue;
        };
        if let Some(RefOr::T(Schema::Array(Array { items: ArrayItems::RefOrSchema(items), .. }))) =
            list.properties.get_mut("items")
        {
            let reference = Ref::from_schema_name(item).into();
            shared.push((item.to_owned(), std::mem::replace(&mut **items, reference)));
        }
    }
    for (name, item) in shared {
        schemas.entry(name).or_insert(item);
    }
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn complete_operation(operation: &mut Operation) {
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        leave_out_instead_of_null(body);
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            add_headers(status, response);
        }
    }
}

/// A body of type `Option` may be left out, but not be `null`.
fn leave_out_instead_of_null(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        let RefOr::T(Content { schema: Some(schema), .. }) = content else { continue };
        let RefOr::T(Schema::OneOf(choice)) = schema else { continue };
        let before = choice.items.len();
        choice.items.retain(|item| !is_null(item));
        if choice.items.len() == 1 && before == 2 {
            *schema = choice.items.remove(0);
        }
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}

/// The headers that a problem of this status always has.
fn add_headers(status: &str, response: &mut Response) {
    if !response.content.contains_key("application/problem+json") {
        return;
    }
    let (name, schema, description) = match status {
        "401" => ("WWW-Authenticate", super::words(["Bearer"]), "How to say who calls"),
        "429" | "503" => ("Retry-After", integer(1, 86_400), "After how many seconds to ask again"),
        _ => return,
    };
    let header = Header::builder().schema(Some(schema)).description(Some(description)).build();
    response.headers.insert(name.to_owned(), header.into());
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::complete;
    use crate::http::List;
    use crate::problem::Problem;

    #[derive(utoipa::ToSchema)]
    #[expect(dead_code, reason = "only described")]
    struct Wish {
        reason: Option<String>,
    }

    #[utoipa::path(
        post,
        path = "/wishes",
        operation_id = "makeWish",
        request_body = Option<Wish>,
        responses(
            (status = 200, description = "All", body = List<Wish>),
            (status = 429, description = "Too many", body = Problem, content_type = "application/problem+json"),
        )
    )]
    #[expect(dead_code, reason = "only described")]
    fn make_wish() {}

    #[derive(utoipa::OpenApi)]
    #[openapi(paths(make_wish))]
    struct Described;

    fn document() -> Value {
        serde_json::to_value(complete(<Described as utoipa::OpenApi>::openapi())).expect("JSON")
    }

    #[test]
    fn a_body_that_may_be_left_out_is_not_null() {
        let body = &document()["paths"]["/wishes"]["post"]["requestBody"];
        assert_eq!(body["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Wish");
        assert_ne!(body["required"], true);
    }

    #[test]
    fn a_problem_has_the_headers_of_its_status() {
        let answers = &document()["paths"]["/wishes"]["post"]["responses"];
        assert_eq!(answers["429"]["headers"]["Retry-After"]["schema"]["minimum"], 1);
    }

    #[test]
    fn the_items_of_a_list_are_a_component() {
        let schemas = &document()["components"]["schemas"];
        let items = &schemas["List_Wish"]["properties"]["items"]["items"];
        assert_eq!(items["$ref"], "#/components/schemas/Wish");
        assert!(schemas["Wish"]["properties"]["reason"].is_object());
    }
}

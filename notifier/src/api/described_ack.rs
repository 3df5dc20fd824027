//! What the interface description says of acknowledgement rules.

use runtime::http::described::words;
use serde_json::json;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};

use super::described::reference;
use crate::domain::ack::MAX_ACK_TEXT;

runtime::described! {
    pub AckStatus as "AckStatus" = words(["status"]).description(Some("Any 2xx"));
    pub AckBody as "AckBody" = alone("body", exact_text());
    pub AckJson as "AckJson" = alone("json", reference::<AckPlace>());
    pub AckPlace as "AckPlace" = place();
    pub Ack as "Ack" = OneOfBuilder::new()
        .item(reference::<AckStatus>())
        .item(reference::<AckBody>())
        .item(reference::<AckJson>())
        .description(Some("When an answer acknowledges a webhook; each rule asks for a 2xx status as well"))
        .examples([
            json!("status"),
            json!({ "body": "success" }),
            json!({ "json": { "pointer": "/code", "equals": "SUCCESS" } }),
        ]);
}

/// An object that has this member and no other.
fn alone(name: &str, value: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property(name, value)
        .required(name)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn exact_text() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Exactly this body, white space at both ends passed over"))
        .min_length(Some(1))
        .max_length(Some(MAX_ACK_TEXT))
        .pattern(Some(
            r"^[^\s\u0000-\u001f\u007f-\u009f](?:[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$",
        ))
}

fn place() -> ObjectBuilder {
    let pointer = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A JSON pointer (RFC 6901); empty for the whole body"))
        .max_length(Some(MAX_ACK_TEXT))
        .pattern(Some(r"^(?:/[^\u0000]*)?$"));
    let equals = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Number, Type::Boolean, Type::Null]))
        .description(Some("The value there"))
        .max_length(Some(MAX_ACK_TEXT))
        .pattern(Some(r"^[^\u0000]*$"));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("One place of a JSON body and the value it must have"))
        .property("pointer", pointer)
        .property("equals", equals)
        .required("pointer")
        .required("equals")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

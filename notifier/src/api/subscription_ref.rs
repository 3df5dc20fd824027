//! How a request names a subscription: by its id, or by its name.

use std::borrow::Cow;

use runtime::Problem;
use runtime::keys::Caller;
use runtime::validation::text;
use serde::{Deserialize, Deserializer, de};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::no_subscription;
use crate::domain::SubscriptionId;
use crate::domain::subscription::MAX_NAME;
use crate::store::Store;

/// What a name begins with.
const NAME: &str = "name:";

/// The id of a subscription, or `name:` and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionRef {
    /// By id.
    Id(SubscriptionId),
    /// By what follows `name:`.
    Name(String),
}

impl SubscriptionRef {
    /// The subscription that `caller` means; 404 when none has that name. Whether an id is the caller's to see is
    /// for the store to say.
    pub(super) async fn find(&self, store: &dyn Store, caller: &Caller) -> Result<SubscriptionId, Problem> {
        let named = match self {
            Self::Id(id) => return Ok(*id),
            Self::Name(named) => named,
        };
        let (merchant, name) = owner_and_name(named, caller);
        // No subscription has such a name, and Postgres would not read all of them.
        if text("name", name, MAX_NAME).is_err() || merchant.is_some_and(|name| name.contains('\0')) {
            return Err(no_subscription());
        }
        store.subscription_named(merchant, name).await?.ok_or_else(no_subscription)
    }
}

/// The one that a filter names, where it does.
pub(super) async fn find_optional(
    named: Option<&SubscriptionRef>,
    store: &dyn Store,
    caller: &Caller,
) -> Result<Option<SubscriptionId>, Problem> {
    match named {
        Some(named) => Ok(Some(named.find(store, caller).await?)),
        None => Ok(None),
    }
}

/// A merchant names its own. The operator names its own, or says whose: `MERCHANT/NAME`; before a name of its own
/// that has a `/` the merchant is left out: `/NAME`. No merchant's name has a `/`.
fn owner_and_name<'a>(named: &'a str, caller: &'a Caller) -> (Option<&'a str>, &'a str) {
    match (caller.merchant(), named.split_once('/')) {
        (Some(own), _) => (Some(own), named),
        (None, Some(("", name))) => (None, name),
        (None, Some((merchant, name))) => (Some(merchant), name),
        (None, None) => (None, named),
    }
}

impl<'de> Deserialize<'de> for SubscriptionRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix(NAME) {
            Some(name) => Ok(Self::Name(name.to_owned())),
            None => Uuid::try_parse(&text).map(|id| Self::Id(SubscriptionId(id))).map_err(|_| {
                de::Error::custom("must be the id of a subscription (a UUID), or `name:` and its name")
            }),
        }
    }
}

impl PartialSchema for SubscriptionRef {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let id = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
        let name = text().pattern(Some("^name:.+$")).examples(["name:orders"]);
        let either = OneOfBuilder::new().item(id).item(name);
        RefOr::T(Schema::OneOf(
            either
                .description(Some(
                    "The id of a subscription, or `name:` and its name; with the operator key `name:MERCHANT/NAME` for \
                     a merchant's. In a path a `/` is written `%2F`",
                ))
                .build(),
        ))
    }
}

impl ToSchema for SubscriptionRef {
    fn name() -> Cow<'static, str> {
        "SubscriptionRef".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_names_its_own_and_the_operator_says_whose() {
        let shop = Caller::Merchant("shop".into());
        for (caller, named, expected) in [
            (&shop, "orders", (Some("shop"), "orders")),
            (&shop, "bank/orders", (Some("shop"), "bank/orders")),
            (&Caller::Operator(None), "orders", (None, "orders")),
            (&Caller::Operator(None), "shop/orders", (Some("shop"), "orders")),
            (&Caller::Operator(None), "shop/a/b", (Some("shop"), "a/b")),
            (&Caller::Operator(None), "/a/b", (None, "a/b")),
        ] {
            assert_eq!(owner_and_name(named, caller), expected, "{named}");
        }
    }
}

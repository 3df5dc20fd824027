//! The interface description (`GET /openapi.json`): what is the same for every service.

mod complete;
mod number_pattern;
mod problems;
mod schemas;

pub use complete::complete;
pub use problems::{BodyProblems, Failures, ForeignMerchant, KeyedProblems, QueryProblems};
pub use schemas::{Cursor, Limit, MerchantName, TxNo, durations, integer, text, words};

/// Makes types that only describe: each is a component of the interface description, to be named as
/// `value_type`. So a bound stands in the description as the constant that the service checks.
#[macro_export]
macro_rules! described {
    ($($(#[$doc:meta])* $vis:vis $name:ident as $component:literal = $schema:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        $vis enum $name {}

        impl ::utoipa::PartialSchema for $name {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::Schema> {
                $schema.into()
            }
        }

        impl ::utoipa::ToSchema for $name {
            fn name() -> ::std::borrow::Cow<'static, str> {
                $component.into()
            }
        }
    )+};
}

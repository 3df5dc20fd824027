//! Why a person does something.

use runtime::validation::{Invalid, text};
use serde::Deserialize;
use utoipa::ToSchema;

/// The longest reason, in characters.
pub(super) const MAX_REASON_CHARS: usize = 500;

/// Why it is done; kept with who did it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reason)]
pub(super) struct ReasonBody {
    /// Why, 1 to 500 characters
    #[schema(example = "the account is open now", min_length = 1, max_length = 500)]
    reason: Option<String>,
}

impl ReasonBody {
    /// The reason, if there is one and it is one.
    pub(super) fn checked(self) -> Result<Option<String>, Invalid> {
        self.reason.as_deref().map_or(Ok(()), |reason| text("reason", reason, MAX_REASON_CHARS))?;
        Ok(self.reason)
    }
}

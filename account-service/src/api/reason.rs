//! Why a person does something.

use runtime::validation::{Invalid, text};
use serde::Deserialize;
use utoipa::ToSchema;

use super::described::Why;

/// The longest reason, in characters.
pub(super) const MAX_REASON_CHARS: usize = 500;

/// Why it is done; kept with who did it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reason, example = json!({ "reason": "the account is open now" }))]
pub(super) struct ReasonBody {
    /// Why
    #[schema(value_type = Option<Why>)]
    reason: Option<String>,
}

impl ReasonBody {
    /// The reason, if there is one and it is one.
    pub(super) fn checked(self) -> Result<Option<String>, Invalid> {
        self.reason.as_deref().map_or(Ok(()), |reason| text("reason", reason, MAX_REASON_CHARS))?;
        Ok(self.reason)
    }
}

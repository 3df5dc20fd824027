//! What the audit asks both databases in the same words.

/// How many credits have no order number.
pub(super) const WITHOUT_ORDER: &str = "SELECT count(*) FROM credits WHERE merchant_order_no IS NULL";

//! What the audit asks both databases in the same words.

/// How many credits have no order number, those aside that a person made despite another one of the order. The index
/// `credits_of_order` holds just these, so that the books are not read once more.
pub(super) const WITHOUT_ORDER: &str =
    "SELECT count(*) FROM credits WHERE merchant_order_no IS NULL AND credited_despite IS NULL";

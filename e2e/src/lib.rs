//! The real programs, started as processes and driven from outside, the same tests on every footing.
//!
//! [`harness`] starts and ends programs and answers their webhooks, [`mod@scenarios`] are the tests
//! themselves as functions of a [`harness::Footing`], [`faults`] kills things under a stream of
//! recharges and compares the books afterwards. `tests/` only says which runs where.

pub mod faults;
pub mod harness;
pub mod scenarios;

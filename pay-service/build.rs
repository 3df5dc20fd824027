//! The migrations are compiled in: a change of theirs is a change of the program.

fn main() {
    println!("cargo:rerun-if-changed=../migrations/pay-service");
}

//! Where the programs under test are.

use std::path::PathBuf;

/// The path of a program of this workspace, built with the profile of the tests: test executables
/// lie in `target/<profile>/deps`, programs one folder above.
pub fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test is known");
    let folder =
        test.parent().and_then(|deps| deps.parent()).expect("a test runs from target/<profile>/deps");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build --workspace --bins` first",
        program.display()
    );
    program
}

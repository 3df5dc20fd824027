//! Where the programs under test are.

use std::path::PathBuf;

/// The path of a program of this workspace, built with the profile of the caller: test executables
/// lie in `target/<profile>/deps` with the programs one folder above, programs beside each other.
pub fn path(name: &str) -> PathBuf {
    let caller = std::env::current_exe().expect("the path of the running program is known");
    let found =
        caller.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built for {}: run `cargo build --workspace --bins` first", caller.display())
    })
}

//! What the program calls itself.

use assert_cmd::Command;

#[test]
fn it_says_its_own_name_and_version() {
    let mut palisade = Command::cargo_bin("palisade").expect("built with the tests");
    let expected = format!("palisade {}\n", env!("CARGO_PKG_VERSION"));
    palisade.arg("--version").assert().success().stdout(expected);
}

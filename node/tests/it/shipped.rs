//! What is shipped holds nothing that is only for tests.

use model::planted;

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn shipped_binary_has_no_planted_bugs() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_flotilla")).unwrap();
    assert!(contains(&binary, "FLOTILLA_"), "the search finds what is there");
    assert!(!contains(&binary, planted::VARIABLE));
    for (name, ..) in planted::BUGS.iter().filter(|(name, ..)| name.len() > 12) {
        assert!(!contains(&binary, name), "{name}");
    }
}

//! Tables of docs/devapi.md that tests make.

use std::path::Path;

/// Whether the page has this table between the marks of its name; with `DEVAPI_CONFORMANCE_RECORD` it gets it.
pub(crate) fn holds(name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/devapi.md");
    let text = std::fs::read_to_string(&path).expect("docs/devapi.md");
    let (begin, end) =
        (format!("<!-- {name}: made by a test -->\n"), format!("<!-- end of {name} -->"));
    let from = text.find(&begin).expect("the mark before the table") + begin.len();
    let to = text.find(&end).expect("the mark behind the table");
    if text[from..to] == *table {
        return;
    }
    if std::env::var_os("DEVAPI_CONFORMANCE_RECORD").is_some() {
        let text = format!("{}{table}{}", &text[..from], &text[to..]);
        std::fs::write(&path, text).expect("writes docs/devapi.md");
        return;
    }
    panic!(
        "docs/devapi.md must have this table (DEVAPI_CONFORMANCE_RECORD=1 writes it):\n\n{table}"
    );
}

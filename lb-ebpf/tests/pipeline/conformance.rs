//! `docs/conformance.md` says what the cases cover.

use std::path::Path;

use xlvs_tests::datapath::{cases, conformance};

#[test]
fn the_document_is_what_the_cases_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let now = conformance::document(&cases::all());
    if std::env::var_os("XLVS_BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "{} is not what the cases are; XLVS_BLESS=1 writes it", path.display());
}

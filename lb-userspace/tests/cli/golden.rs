//! Expected texts, kept in `tests/golden`.

use std::path::Path;

/// Compares with the golden file of that name, or writes it if `XLVS_BLESS` is set.
pub(crate) fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("XLVS_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        return;
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}; XLVS_BLESS=1 writes it", path.display()));
    assert!(
        expected == actual,
        "{} differs.\n--- expected\n{expected}\n--- actual\n{actual}\n--- (XLVS_BLESS=1 accepts the change)",
        path.display()
    );
}

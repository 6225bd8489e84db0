//! How long the loads are: short by default, so that the suite is run often; whole with `XLVS_LONG=1`.

/// The first by default, the second with `XLVS_LONG=1`.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if std::env::var_os("XLVS_LONG").is_some_and(|value| value == "1") { long } else { short }
}

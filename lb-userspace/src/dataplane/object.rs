//! The eBPF object inside the binary.

use std::{borrow::Cow, fmt, fs, path::PathBuf};

/// Names another object to load instead of the one inside; for developers who try a program of their own.
pub const OBJECT_VARIABLE: &str = "XLVS_OBJECT";

static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xlvs.o"));

/// The bytes of an ELF object with the XDP program and its maps.
#[derive(Debug, Clone)]
pub struct Object(Cow<'static, [u8]>);

/// Why there is no object to load.
#[derive(Debug)]
pub enum ObjectError {
    /// The binary was built by plain cargo.
    NotBuiltIn,
    Unreadable(PathBuf, std::io::Error),
}

impl Object {
    /// The object inside the binary, or the one that [`OBJECT_VARIABLE`] names.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub fn of_this_build() -> Result<Self, ObjectError> {
        if let Some(path) = std::env::var_os(OBJECT_VARIABLE) {
            let path = PathBuf::from(path);
            let bytes = fs::read(&path).map_err(|error| ObjectError::Unreadable(path, error))?;
            return Ok(Self(bytes.into()));
        }
        if EMBEDDED.is_empty() { Err(ObjectError::NotBuiltIn) } else { Ok(Self(EMBEDDED.into())) }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => {
                f.write_str("this binary was built without its data path; build it with 'cargo xtask build'")
            }
            Self::Unreadable(path, error) => {
                write!(f, "reading {OBJECT_VARIABLE}={}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ObjectError {}

//! Types of one word, as a subprogram of the kernel takes and returns them.

/// Lets a type that is one word travel as it.
macro_rules! travels_as_word {
    ($name:ident) => {
        impl $name {
            /// As a word, for a subprogram.
            #[must_use]
            #[inline(always)]
            pub const fn word(self) -> u64 {
                self.0
            }

            /// What [`word`](Self::word) gave.
            #[inline(always)]
            pub const fn from_word(word: u64) -> Self {
                Self(word)
            }
        }
    };
}

pub(crate) use travels_as_word;

//! Names: of services, servers, directors and network interfaces.

use std::fmt;
use std::sync::Arc;

use super::source::Reported;
use super::table::{Entry, quoted};

/// A name for people and for clusters: 1 to 63 of the characters A-Z a-z 0-9 `.` `_` `-`, and not `-`
/// alone, which on the command line stands for every service.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same, for whoever keeps it: no copy is made.
            pub fn shared(&self) -> Arc<str> {
                self.0.clone()
            }

            /// Checks a name from elsewhere, such as the command line.
            ///
            /// # Errors
            /// What is wrong with it.
            pub fn parse(text: &str) -> Result<Self, String> {
                checked(text).map(Self).map_err(|(what, remedy)| format!("{what}; {remedy}"))
            }

            pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
                let text = entry.text(&format!("{} = \"web-1\"", entry.key))?;
                checked(text).map(Self).map_err(|(what, remedy)| entry.problem(what, remedy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a service, unique in a configuration.
    ServiceName
}
name_type! {
    /// The name of a real server, unique within its service.
    ServerName
}
name_type! {
    /// The name of a group of services.
    GroupName
}
name_type! {
    /// The name of a director.
    NodeName
}
name_type! {
    /// The name of a place that directors and servers are in: a room, a rack, a zone.
    DomainName
}

const LONGEST_NAME: usize = 63;

/// The name, or what is wrong with it and what to do about that.
fn checked(text: &str) -> Result<Arc<str>, (String, String)> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text == "-" {
        Err((
            "the name \"-\" stands for every service on the command line".to_owned(),
            "write another one".to_owned(),
        ))
    } else if (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.into())
    } else {
        let what = format!("{} cannot be a name", quoted(text));
        Err((what, format!("write 1 to {LONGEST_NAME} of the characters A-Z a-z 0-9 . _ -")))
    }
}

/// The name of a network interface as the kernel allows it (`dev_valid_name` in net/core/dev.c).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(Box<str>);

/// `IFNAMSIZ` without the terminating zero.
const LONGEST_INTERFACE_NAME: usize = 15;

impl InterfaceName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a name from elsewhere, such as the command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_INTERFACE_NAME {
            let length = text.len();
            Err(format!(
                "the interface name {} has {length} characters, the kernel allows {LONGEST_INTERFACE_NAME}",
                quoted(text)
            ))
        } else if text.is_empty()
            || matches!(text, "." | "..")
            || text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':'))
        {
            Err(format!("{} cannot be the name of an interface", quoted(text)))
        } else {
            Ok(Self(text.into()))
        }
    }

    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
        let text = entry.text("interfaces = [\"eth0\"]")?;
        Self::parse(text).map_err(|what| entry.problem(what, "write a name that `ip link` shows"))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

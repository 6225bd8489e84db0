//! `xlvs capture`: frames as they came and as they left, and what was decided about them.

use super::{Hex, Schema, Time};
use serde::{Deserialize, Serialize};

/// What the agent has captured since it was asked last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureReport {
    /// Always 1.
    pub schema: Schema,
    /// By which number to ask for more.
    pub capture: u64,
    /// In the order in which each CPU saw them.
    pub frames: Vec<CapturedFrame>,
    /// Frames for which there was no room, since the capture began: so many at least.
    pub lost: u64,
}

/// A frame; with `-o json`, a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// Always 1.
    pub schema: Schema,
    /// When it came in.
    pub at: Time,
    /// By which interface; null: one that is gone.
    pub interface: Option<String>,
    /// What it was counted under.
    pub verdict: String,
    /// The stage of the data path that came to the verdict.
    pub stage: String,
    /// What else was counted.
    pub events: Vec<String>,
    /// The service it belongs to; null: none.
    pub service: Option<String>,
    /// The real server it went to or came from; null: none.
    pub server: Option<String>,
    /// As it came in.
    pub before: CapturedBytes,
    /// As it left; null: it was not sent.
    pub after: Option<CapturedBytes>,
}

/// Of a frame, told and in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedBytes {
    /// In a line.
    pub text: String,
    /// On the wire, bytes.
    pub length: u64,
    /// From the Ethernet header on; of a long frame, its beginning.
    pub bytes: Hex,
}

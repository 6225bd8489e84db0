//! How much stack a program's deepest chain of calls takes, as Linux 6.1 counts it: the frame of each function rounded up to
//! 32 bytes, 512 at most in all (`check_max_stack_depth` in kernel/bpf/verifier.c). Counted from the object, so that a kernel
//! that counts otherwise tells, too.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::code::{Address, Code};

/// What the kernel allows a chain.
pub const LIMIT: u64 = 512;
const ROUND: u64 = 32;

/// Bytes, by program.
pub fn deepest(code: &Code) -> Result<BTreeMap<String, u64>> {
    code.programs().map(|(address, program)| Ok((program.name.clone(), chain(code, address)?))).collect()
}

/// The kernel refuses recursion, so this ends.
fn chain(code: &Code, from: &Address) -> Result<u64> {
    let function = code.function(from)?;
    let below = function.calls.iter().map(|to| chain(code, to)).collect::<Result<Vec<_>>>()?;
    let own = function.depth.max(1).next_multiple_of(ROUND);
    Ok(own + below.into_iter().max().unwrap_or(0))
}

//! How many calls of the kernel stand in a program and in all that it calls: each is paid for where it is met, and one more in a
//! place that every packet passes is seen here before it is felt.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;

use crate::code::{Address, Code};

/// `bpf_map_lookup_elem`; of an array, the kernel writes the look-up into the program instead.
const LOOK_UP: i32 = 1;

/// What stands in a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Of any helper, look-ups among them.
    pub helpers: u64,
    /// In maps.
    pub look_ups: u64,
}

/// By program; what several functions of it call counts once.
pub fn calls(code: &Code) -> Result<BTreeMap<String, Calls>> {
    let of_program = |address: &Address| -> Result<Calls> {
        let mut reached = HashSet::new();
        reach(code, *address, &mut reached)?;
        let mut calls = Calls::default();
        for address in &reached {
            let helpers = &code.function(address)?.helpers;
            calls.helpers += helpers.len() as u64;
            calls.look_ups += helpers.iter().filter(|helper| **helper == LOOK_UP).count() as u64;
        }
        Ok(calls)
    };
    code.programs().map(|(address, program)| Ok((program.name.clone(), of_program(address)?))).collect()
}

fn reach(code: &Code, from: Address, reached: &mut HashSet<Address>) -> Result<()> {
    if reached.insert(from) {
        for to in &code.function(&from)?.calls {
            reach(code, *to, reached)?;
        }
    }
    Ok(())
}

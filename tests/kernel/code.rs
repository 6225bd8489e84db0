//! The functions of an object: what each calls, and how much stack it takes.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SectionKind,
    SymbolKind,
};

const INSTRUCTION: usize = 8;
const FRAME_POINTER: u8 = 10;
const CLASS: u8 = 0x07;
const LOAD: u8 = 0x01;
const STORES: [u8; 2] = [0x02, 0x03];
const MOVE: u8 = 0xbf;
const ADD_NUMBER: u8 = 0x07;
const CALL: u8 = 0x85;
/// In a call's source register: of a function of the object, not of the kernel.
const OF_OURS: u8 = 1;

/// Where a function begins.
pub type Address = (SectionIndex, u64);

pub struct Function {
    pub name: String,
    /// Bytes of stack.
    pub depth: u64,
    /// Of the object's own functions, each as often as there are calls of it.
    pub calls: Vec<Address>,
    /// Helpers of the kernel, by number (`enum bpf_func_id`), each as often as there are calls of it.
    pub helpers: Vec<i32>,
}

/// The object's functions, and which of them the kernel calls.
pub struct Code {
    functions: HashMap<Address, Function>,
    programs: Vec<Address>,
}

impl Code {
    pub fn of(object: &[u8]) -> Result<Self> {
        let file = File::parse(object).context("the object is not ELF")?;
        let functions = functions(&file)?;
        let begins = |address: &&Address| {
            let section = file.section_by_index(address.0).ok();
            section.and_then(|section| Some(section.name().ok()?.starts_with("xdp"))).unwrap_or(false)
        };
        let programs = functions.keys().filter(begins).copied().collect();
        Ok(Self { functions, programs })
    }

    pub fn programs(&self) -> impl Iterator<Item = (&Address, &Function)> {
        self.programs.iter().map(|address| (address, &self.functions[address]))
    }

    pub fn function(&self, address: &Address) -> Result<&Function> {
        self.functions.get(address).with_context(|| format!("a call leads to no function: {address:?}"))
    }
}

fn functions(file: &File<'_>) -> Result<HashMap<Address, Function>> {
    let mut functions = HashMap::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let code = section.data()?;
        let called = calls(file, &section)?;
        let here = file.symbols().filter(|symbol| symbol.section_index() == Some(section.index()));
        for symbol in here.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
            let range = symbol.address()..symbol.address() + symbol.size();
            let body =
                code.get(range.start as usize..range.end as usize).context("a symbol leaves its section")?;
            let calls = called.range(range.clone()).map(|(_, to)| *to).collect();
            let name = symbol.name()?.to_owned();
            let function = Function { name, depth: depth(body), calls, helpers: helpers(body) };
            functions.insert((section.index(), range.start), function);
        }
    }
    Ok(functions)
}

/// Whom the instructions of a section call, by their place in it.
fn calls<'f>(file: &File<'f>, section: &impl object::ObjectSection<'f>) -> Result<BTreeMap<u64, Address>> {
    let relocated: BTreeMap<_, _> = section
        .relocations()
        .filter_map(|(at, relocation)| match relocation.target() {
            RelocationTarget::Symbol(symbol) => Some((at, symbol)),
            _ => None,
        })
        .collect();
    let mut calls = BTreeMap::new();
    for (index, code) in section.data()?.chunks_exact(INSTRUCTION).enumerate() {
        if code[0] != CALL || code[1] >> 4 != OF_OURS {
            continue;
        }
        let at = (index * INSTRUCTION) as u64;
        let distance = (i64::from(number(code)) + 1) * INSTRUCTION as i64;
        let to = match relocated.get(&at) {
            Some(symbol) => {
                let symbol = file.symbol_by_index(*symbol)?;
                let section = symbol.section_index().context("a call of something that is not here")?;
                (section, symbol.address().wrapping_add_signed(distance))
            }
            None => (section.index(), at.wrapping_add_signed(distance)),
        };
        calls.insert(at, to);
    }
    Ok(calls)
}

/// In a call of the kernel's, the source register is 0.
fn helpers(body: &[u8]) -> Vec<i32> {
    body.chunks_exact(INSTRUCTION).filter(|code| code[0] == CALL && code[1] >> 4 == 0).map(number).collect()
}

/// How far below its frame pointer a function reaches.
fn depth(body: &[u8]) -> u64 {
    let mut copies = [false; 16];
    let mut deepest = 0;
    for code in body.chunks_exact(INSTRUCTION) {
        let (operation, to, from) = (code[0], code[1] & 15, code[1] >> 4);
        let base = if operation & CLASS == LOAD { from } else { to };
        let accesses = operation & CLASS == LOAD || STORES.contains(&(operation & CLASS));
        let below = if accesses && base == FRAME_POINTER {
            i64::from(i16::from_le_bytes([code[2], code[3]]))
        } else if operation == ADD_NUMBER && copies[usize::from(to)] {
            i64::from(number(code))
        } else {
            0
        };
        deepest = deepest.max(-below);
        copies[usize::from(to)] = operation == MOVE && from == FRAME_POINTER;
    }
    deepest.unsigned_abs()
}

fn number(code: &[u8]) -> i32 {
    i32::from_le_bytes([code[4], code[5], code[6], code[7]])
}

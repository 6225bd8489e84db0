//! The object in the kernel, frame by frame: BPF_PROG_TEST_RUN. Needs root and `XLVS_EBPF_OBJECT`.

mod abi;
mod budget;
mod capturing;
mod cases;
mod code;
mod differential;
mod explaining;
mod helpers;
mod price;
mod settling;
mod stack;
mod ways_back;

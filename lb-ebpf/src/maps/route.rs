//! The way to an address as the kernel's routing knows it.
#![expect(unsafe_code, reason = "a kernel helper takes raw pointers")]

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibParams, xdp_md},
    helpers::bpf_fib_lookup,
};
use lb_common::{
    net::{Addr, NextHop, PortNumber},
    word::{Word, opaque},
};

/// The kernel's next hop from one address to another, as a word; 0 if it knows none.
#[inline(always)]
pub(super) fn fib_lookup(context: *mut xdp_md, by: u32, from: &Addr, to: &Addr) -> u64 {
    const AF_INET: u64 = 2;
    const AF_INET6: u64 = 10;
    // `struct bpf_fib_lookup` as eight words, because the verifier wants the stack accessed aligned: family; ifindex;
    // source (16 bytes); destination (16 bytes); VLAN and the start of the source MAC; its end and the other MAC.
    // The zero is unknown to the compiler, which would call a function to write so many: that takes stack.
    let zero = opaque(0);
    let params: [Word; 8] = [zero; 8].map(Word::new);
    let in_ipv4 = to.as_v4().is_some();
    params[0].store(if in_ipv4 { AF_INET } else { AF_INET6 });
    params[1].store(u64::from(by));
    for (place, addr) in [(2, from), (4, to)] {
        let [a, b, c, d] = addr.words().map(u64::from);
        params[place].store(if in_ipv4 { d } else { a | b << 32 });
        params[place + 1].store(if in_ipv4 { 0 } else { c | d << 32 });
    }
    params[6].store(zero);
    params[7].store(zero);
    // SAFETY: valid context; the words are as large and laid out as the structure.
    let answer = unsafe {
        let at = (&raw const params).cast_mut().cast::<FibParams>();
        bpf_fib_lookup(context.cast(), at, size_of::<FibParams>() as i32, 0)
    };
    // 0: found, with a neighbour (BPF_FIB_LKUP_RET_SUCCESS).
    if answer != 0 {
        return 0;
    }
    let m = params[7].load().to_ne_bytes();
    let mac = [m[2], m[3], m[4], m[5], m[6], m[7]];
    NextHop { mac, port: PortNumber::of_interface(params[1].load() as u32) }.to_word()
}

//! The least that can be done: what any program of the kind has to do, and nothing else.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    btf_maps::Array,
    helpers::generated::bpf_xdp_adjust_head,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

const MAC: usize = 6;
const ETHERNET: usize = 14;
const IPV4: usize = 20;

/// As large as the connection table beside which it is measured; the loader says how large that is.
#[btf_map]
static BUCKETS: Array<[u64; 8], 1, { BPF_F_MMAPABLE as usize }> = Array::new();
/// The same in one word: buckets less one.
#[btf_map]
static BUCKET_MASK: Array<u64, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// To whom [`floor_forward`] hands packets: the VIP (4 bytes), the server's MAC and this machine's (6 each).
#[btf_map]
static HOP: Array<[u8; 16], 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Nothing: what is left is the driver.
#[xdp(frags)]
pub fn floor_nothing(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Sends the frame back to where it came from.
#[xdp(frags)]
pub fn floor_swap(context: XdpContext) -> u32 {
    if swap(context.ctx) { xdp_action::XDP_TX } else { xdp_action::XDP_ABORTED }
}

/// The same, and looks at one bucket of a large table, chosen by the client: one cache line that is not at hand.
#[xdp(frags)]
pub fn floor_bucket(context: XdpContext) -> u32 {
    if !swap(context.ctx) {
        return xdp_action::XDP_ABORTED;
    }
    // Where the driver writes both halves of the flow: in TCP's sequence number.
    let Some(ether_type) = load::<u16>(context.ctx, 12) else { return xdp_action::XDP_ABORTED };
    let flow =
        if ether_type == 0x0800_u16.to_be() { load::<u32>(context.ctx, 38) } else { load(context.ctx, 58) };
    let Some(flow) = flow else { return xdp_action::XDP_ABORTED };
    let Some(mask) = BUCKET_MASK.get(0) else { return xdp_action::XDP_ABORTED };
    let hash = u64::from(flow).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let Some(bucket) = BUCKETS.get(((hash >> 40) & mask) as u32) else { return xdp_action::XDP_ABORTED };
    // It never is: the first bit of a hash that was made odd.
    if bucket[0] == hash | 1 { xdp_action::XDP_DROP } else { xdp_action::XDP_TX }
}

/// Hands every IPv4 packet for the VIP to the one server, by writing its MAC; the rest is the kernel's.
#[xdp(frags)]
pub fn floor_forward(context: XdpContext) -> u32 {
    let Some(hop) = HOP.get(0) else { return xdp_action::XDP_ABORTED };
    let [v0, v1, v2, v3, to @ .., _, _, _, _, _, _] = *hop;
    let [.., f0, f1, f2, f3, f4, f5] = *hop;
    if load::<u16>(context.ctx, 12) != Some(0x0800_u16.to_be())
        || load::<u32>(context.ctx, 30) != Some(u32::from_ne_bytes([v0, v1, v2, v3]))
    {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: the context is valid, and every access lies within the bytes whose end is compared here.
    unsafe {
        let data = (*context.ctx).data as usize as *mut u8;
        if data.add(ETHERNET) > (*context.ctx).data_end as usize as *mut u8 {
            return xdp_action::XDP_ABORTED;
        }
        data.cast::<[u8; MAC]>().write_unaligned(to);
        data.add(MAC).cast::<[u8; MAC]>().write_unaligned([f0, f1, f2, f3, f4, f5]);
    }
    xdp_action::XDP_TX
}

/// Puts an IPv4 packet into another one between fixed addresses, without a table.
#[xdp(frags)]
pub fn floor_ipip(context: XdpContext) -> u32 {
    let context = context.ctx;
    // SAFETY: the context is valid for the whole run; the kernel checks the room.
    if unsafe { bpf_xdp_adjust_head(context, -(IPV4 as i32)) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the context is valid, and every access lies within the bytes whose end is compared here.
    unsafe {
        let data = (*context).data as usize as *mut u8;
        if data.add(ETHERNET + 2 * IPV4) > (*context).data_end as usize as *mut u8 {
            return xdp_action::XDP_ABORTED;
        }
        let length = u16::from_be(data.add(ETHERNET + IPV4 + 2).cast::<u16>().read_unaligned()) + IPV4 as u16;
        let words = [0x4500, length, 0, 0, 0x4004, 0, 0x0a4d, 0x0201, 0x0a4d, 0x0215];
        let sum = words.iter().fold(0_u32, |sum, word| sum + u32::from(*word));
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        data.cast::<[u8; 14]>().write_unaligned([2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 1, 1, 8, 0]);
        for (index, word) in words.iter().enumerate() {
            let word = if index == 5 { checksum } else { *word };
            data.add(ETHERNET + 2 * index).cast::<u16>().write_unaligned(word.to_be());
        }
    }
    xdp_action::XDP_TX
}

#[inline(always)]
fn swap(context: *mut xdp_md) -> bool {
    // SAFETY: the context is valid, and every access lies within the bytes whose end is compared here.
    unsafe {
        let data = (*context).data as usize as *mut u8;
        if data.add(ETHERNET) > (*context).data_end as usize as *mut u8 {
            return false;
        }
        let (to, from) = (data.cast::<[u8; MAC]>(), data.add(MAC).cast::<[u8; MAC]>());
        let (was_to, was_from) = (to.read_unaligned(), from.read_unaligned());
        to.write_unaligned(was_from);
        from.write_unaligned(was_to);
    }
    true
}

#[inline(always)]
fn load<T: Copy>(context: *mut xdp_md, at: usize) -> Option<T> {
    // SAFETY: the context is valid, and the access lies within the bytes whose end is compared here.
    unsafe {
        let data = (*context).data as usize as *const u8;
        if data.add(at + size_of::<T>()) > (*context).data_end as usize as *const u8 {
            return None;
        }
        Some(data.add(at).cast::<T>().read_unaligned())
    }
}

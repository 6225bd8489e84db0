//! What datagrams of QUIC begin with: headers as RFC 8999 has them, connection ids as QUIC-LB makes them.

/// The connection id that a server with this id makes.
#[must_use]
pub fn connection_id(config: u8, server: &[u8]) -> Vec<u8> {
    [&[config << 5 | 0x15], server, b"nonce"].concat()
}

/// With a short header.
#[must_use]
pub fn short(id: &[u8]) -> Vec<u8> {
    [&[0x41], id, b"what only the two can read"].concat()
}

/// With a long header.
#[must_use]
pub fn long(id: &[u8]) -> Vec<u8> {
    [&[0xc3, 0, 0, 0, 1, id.len() as u8], id, &[8], b"clients' what only the two can read"].concat()
}

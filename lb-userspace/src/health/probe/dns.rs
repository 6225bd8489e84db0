//! The DNS probe: does the server know a name? One question by UDP (RFC 1035, section 4.1).

use std::io;
use std::net::SocketAddr;

use super::{Deadline, Outcome, udp};
use crate::config::DnsProbe;

const HEADER: usize = 12;
/// The class of the Internet.
const IN: u16 = 1;
/// A query of ours that wants recursion (RD).
const QUERY: u16 = 0x0100;
/// QR, and the bits of a response code.
const RESPONSE: u16 = 0x8000;
const CODE: u16 = 0x000f;
const TRUNCATED: u16 = 0x0200;

pub(super) async fn probe(
    target: SocketAddr,
    check: &DnsProbe,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    let DnsProbe { name, record } = check;
    let step = format!("DNS {record} {name} at {target}");
    let question = question(fastrand::u16(..), check);
    let reply = deadline.run(&step, exchange(target, &question)).await?;
    Ok(judged(&step, check, &question, &reply))
}

/// What a reply to this question says of the server.
pub(super) fn judged(step: &str, check: &DnsProbe, question: &[u8], reply: &[u8]) -> Outcome {
    match judge(reply, question, check.record.number()) {
        Ok(records) => Outcome::Passed(format!("{step}: {records} records")),
        Err(why) => Outcome::Failed(format!("{step}: {why}")),
    }
}

/// Sends the question, returns what answers it. Other datagrams are answers to others, or nobody's.
async fn exchange(target: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = udp::socket(target).await?;
    socket.send(question).await?;
    let mut reply = vec![0; 4096];
    loop {
        let length = socket.recv(&mut reply).await?;
        if word(&reply[..length], 0) == word(question, 0) {
            reply.truncate(length);
            return Ok(reply);
        }
        if length < HEADER {
            return Err(io::Error::other(format!("not DNS ({})", udp::excerpt(&reply[..length]))));
        }
    }
}

/// With this number of the client's choice.
pub(super) fn question(id: u16, check: &DnsProbe) -> Vec<u8> {
    let mut question = Vec::with_capacity(HEADER + check.name.len() + 6);
    for word in [id, QUERY, 1, 0, 0, 0] {
        question.extend(word.to_be_bytes());
    }
    for label in check.name.split('.').filter(|label| !label.is_empty()) {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(check.record.number().to_be_bytes());
    question.extend(IN.to_be_bytes());
    question
}

/// How many records of that type a reply has, or what is wrong with it.
fn judge(reply: &[u8], question: &[u8], record: u16) -> Result<usize, String> {
    let header = |index: usize| word(reply, 2 * index).ok_or("the answer is cut off");
    let (flags, questions, answers) = (header(1)?, header(2)?, header(3)?);
    if flags & RESPONSE == 0 {
        return Err("the answer is a question".to_owned());
    }
    match flags & CODE {
        0 => {}
        code => return Err(format!("answered with {}", code_name(code))),
    }
    let asked = &question[HEADER..];
    let echoed = reply.get(HEADER..HEADER + asked.len()).ok_or("the answer is cut off")?;
    if questions != 1 || !echoed.eq_ignore_ascii_case(asked) {
        return Err("the answer is to another question".to_owned());
    }
    let mut at = HEADER + asked.len();
    let mut found = 0;
    for _ in 0..answers {
        let Some((kind, next)) = answer(reply, at) else {
            // A truncated reply has said enough if it has come to a record.
            let excused = flags & TRUNCATED != 0 && found > 0;
            return if excused { Ok(found) } else { Err("the answer is cut off".to_owned()) };
        };
        found += usize::from(kind == record);
        at = next;
    }
    if found == 0 { Err("no record of that type".to_owned()) } else { Ok(found) }
}

/// The type of the record that begins here, and where the next one does.
fn answer(reply: &[u8], at: usize) -> Option<(u16, usize)> {
    let mut at = at;
    loop {
        match *reply.get(at)? {
            0 => break at += 1,
            // A pointer ends a name (section 4.1.4).
            length if length >= 0xc0 => break at += 2,
            length if length < 0x40 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
    let (kind, length) = (word(reply, at)?, word(reply, at + 8)?);
    let next = at + 10 + usize::from(length);
    (next <= reply.len()).then_some((kind, next))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn code_name(code: u16) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::RecordType;

    fn asked() -> Vec<u8> {
        question(0x1234, &DnsProbe { name: "www.example.org".into(), record: RecordType::A })
    }

    /// A reply to it with these flags and these records: a type and its data.
    fn reply(flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut reply = asked();
        reply[2..4].copy_from_slice(&flags.to_be_bytes());
        reply[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, data) in records {
            reply.extend([0xc0, HEADER as u8]);
            reply.extend(kind.to_be_bytes());
            reply.extend([0, 1, 0, 0, 0, 60]);
            reply.extend((data.len() as u16).to_be_bytes());
            reply.extend(*data);
        }
        reply
    }

    #[test]
    fn the_question_is_as_the_standard_wants_it() {
        let expected = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01";
        assert_eq!(asked(), expected);
    }

    #[test]
    fn an_answer_with_a_record_of_that_type_passes() {
        let alias = (5, &b"\x01a\0"[..]);
        assert_eq!(
            judge(&reply(0x8180, &[alias, (1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])]), &asked(), 1),
            Ok(2)
        );
    }

    #[test]
    fn every_other_answer_fails_with_its_reason() {
        let cut = |by: usize| {
            let whole = reply(0x8180, &[(1, &[192, 0, 2, 1])]);
            whole[..whole.len() - by].to_vec()
        };
        for (reply, why) in [
            (reply(0x8183, &[]), "answered with NXDOMAIN"),
            (reply(0x8182, &[]), "answered with SERVFAIL"),
            (reply(0x8185, &[]), "answered with REFUSED"),
            (reply(0x8180, &[]), "no record of that type"),
            (reply(0x8180, &[(28, &[0; 16])]), "no record of that type"),
            (reply(0x0100, &[(1, &[192, 0, 2, 1])]), "the answer is a question"),
            (cut(1), "the answer is cut off"),
            (cut(30), "the answer is cut off"),
            (vec![0x12, 0x34, 0x81], "the answer is cut off"),
        ] {
            assert_eq!(judge(&reply, &asked(), 1), Err(why.to_owned()), "{reply:?}");
        }
        let mut other = reply(0x8180, &[(1, &[192, 0, 2, 1])]);
        other[HEADER + 1] = b'x';
        assert_eq!(judge(&other, &asked(), 1), Err("the answer is to another question".to_owned()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), behind in any::<bool>()) {
            let mut reply = if behind { reply(0x8180, &[]) } else { Vec::new() };
            if behind {
                reply[6..8].copy_from_slice(&9u16.to_be_bytes());
            }
            reply.extend(bytes);
            let _ = judge(&reply, &asked(), 1);
        }
    }
}

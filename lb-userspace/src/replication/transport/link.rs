//! One stream to one peer, for as long as it lasts.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use super::{Desk, count};
use crate::replication::frame::{Frames, framed};
use crate::replication::session::SessionId;
use crate::replication::version::NodeId;

/// A peer that says nothing for so long is frozen or cut off: in a healthy session a digest comes every ten seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// A frame that the peer does not take in for so long.
const STUCK: Duration = Duration::from_secs(10);
const PIECE: usize = 16 * 1024;

/// Carries on a session until either side ends it; whether a message of the peer has been understood.
pub(super) async fn converse(desk: &Desk, peer: NodeId, stream: impl AsyncRead + AsyncWrite) -> bool {
    let Ok(session) = desk.with(|replicator| replicator.connected(peer)) else { return false };
    let (input, output) = split(stream);
    let mut understood = false;
    // Both at once: two directors that only wrote would wait for each other.
    tokio::select! {
        () = listen(desk, session, input, &mut understood) => {}
        () = speak(desk, session, output) => {}
    }
    desk.with(|replicator| replicator.disconnected(session));
    count(&desk.counters.ended, 1);
    understood
}

async fn listen<S: AsyncRead>(
    desk: &Desk,
    session: SessionId,
    mut input: ReadHalf<S>,
    understood: &mut bool,
) {
    let (mut frames, mut piece) = (Frames::default(), vec![0; PIECE]);
    loop {
        let length = match timeout(SILENCE, input.read(&mut piece)).await {
            Ok(Ok(length)) if length > 0 => length,
            _ => return,
        };
        count(&desk.counters.bytes_received, length);
        let now = Instant::now();
        let refused = desk.with(|replicator| {
            let mut outcome = Ok(());
            let cut = frames.push(&piece[..length], |body| {
                count(&desk.counters.frames_received, 1);
                // What follows a refused message is not read.
                if outcome.is_ok() {
                    outcome = replicator.receive(session, body, now);
                    *understood |= outcome.is_ok();
                }
            });
            // The replicator has counted its own refusals; the stream's are told to it.
            cut.map_err(|refusal| replicator.refuse(refusal)).and(outcome).is_err()
        });
        if refused {
            return;
        }
    }
}

async fn speak<S: AsyncWrite>(desk: &Desk, session: SessionId, mut output: WriteHalf<S>) {
    let mut news = desk.news.subscribe();
    // A function, so that nobody waits for this peer with the replicator locked.
    let next = || desk.lock().transmit(session, Instant::now());
    loop {
        // Marked as seen before it is looked at: what comes in between wakes the next round.
        news.mark_unchanged();
        while let Some(body) = next() {
            let frame = framed(&body);
            let sent = async {
                output.write_all(&frame).await?;
                output.flush().await
            };
            if !matches!(timeout(STUCK, sent).await, Ok(Ok(()))) {
                return;
            }
            count(&desk.counters.frames_sent, 1);
            count(&desk.counters.bytes_sent, frame.len());
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

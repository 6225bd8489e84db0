//! One stream to one peer, for as long as it lasts.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::contact::Contact;
use super::{Desk, count};
use crate::replication::frame::{Frames, framed};
use crate::replication::refusal::Refusal;
use crate::replication::session::SessionId;
use crate::replication::version::NodeId;

/// A peer of which not one byte comes for so long is given up: six pulses.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
const PIECE: usize = 16 * 1024;

/// Carries on a session until either side ends it; whether a message of the peer has been understood.
pub(super) async fn converse(desk: &Desk, peer: NodeId, stream: impl AsyncRead + AsyncWrite) -> bool {
    let begun = desk.with(|replicator| {
        let session = replicator.connected(peer)?;
        desk.found(peer, Contact::Session);
        Ok::<_, Refusal>(session)
    });
    let Ok(session) = begun else { return false };
    let (input, output) = split(stream);
    let mut understood = false;
    // Both at once: two directors that only wrote would wait for each other.
    let end = tokio::select! {
        end = listen(desk, session, input, &mut understood) => end,
        end = speak(desk, session, output) => end,
    };
    desk.with(|replicator| {
        if replicator.disconnected(session) {
            desk.found(peer, end);
        }
    });
    count(&desk.counters.ended, 1);
    count(&desk.counters.silent, usize::from(end == Contact::Silent));
    understood
}

/// Takes in what the peer says; what showed that it is over.
async fn listen<S: AsyncRead>(
    desk: &Desk,
    session: SessionId,
    mut input: ReadHalf<S>,
    understood: &mut bool,
) -> Contact {
    let (mut frames, mut piece) = (Frames::default(), vec![0; PIECE]);
    loop {
        // What has come is read before the time is looked at, so that our own pauses are not taken for the peer's. Any byte
        // is a sign of life: behind a slow link a pulse waits for its turn.
        let length = match timeout(SILENCE, input.read(&mut piece)).await {
            Ok(Ok(0)) => return Contact::Closed,
            Ok(Ok(length)) => length,
            Ok(Err(error)) => return Contact::of(&error),
            Err(_) => return Contact::Silent,
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
            cut.map_err(|refusal| replicator.refuse_in(session, refusal)).and(outcome).is_err()
        });
        if refused {
            return Contact::Improper;
        }
        // What is due in return must not wait until the peer has nothing more to say: it stops at the end of its window.
        yield_now().await;
    }
}

/// Tells the peer what there is to tell; what showed that it is over. It may take its time: one frame waits for it here, what
/// else there is to tell is its dirty set, and that it lives is for [`listen`] to find.
async fn speak<S: AsyncWrite>(desk: &Desk, session: SessionId, mut output: WriteHalf<S>) -> Contact {
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
            if let Err(error) = sent.await {
                return Contact::of(&error);
            }
            count(&desk.counters.frames_sent, 1);
            count(&desk.counters.bytes_sent, frame.len());
        }
        if news.changed().await.is_err() {
            return Contact::Closed;
        }
    }
}

//! A large object in pieces over several connections: one alone is slow where the way is long, and a digest that
//! follows needs the beginning first.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use super::download::{End, Fetch, REPLACED};
use super::exchange::{Answered, Stretch};

/// Bytes of a piece.
const PIECE: u64 = 8 << 20;
/// Pieces that come at the same time.
const AT_ONCE: usize = 8;
/// Objects of at least so many bytes come in pieces.
pub(super) const LARGE: u64 = 2 * PIECE;

/// Fetches all of an object of `length` bytes. The first error ends it all.
pub(super) async fn fetch(fetch: &Fetch<'_, '_>, etag: &str, length: u64) -> Result<(), End> {
    let queue = Queue { next: Cell::new(0), length };
    all((0..AT_ONCE).map(|_| work(fetch, etag, &queue))).await
}

/// The pieces that nobody has taken yet, from the object's beginning to its end.
struct Queue {
    next: Cell<u64>,
    length: u64,
}

impl Queue {
    fn take(&self) -> Option<(u64, u64)> {
        let from = self.next.get();
        let until = (from + PIECE).min(self.length);
        self.next.set(until);
        (from < until).then_some((from, until))
    }
}

async fn work(fetch: &Fetch<'_, '_>, etag: &str, queue: &Queue) -> Result<(), End> {
    while let Some(piece) = queue.take() {
        one(fetch, etag, piece, queue.length).await?;
    }
    Ok(())
}

/// One piece, over as many connections as it takes: each goes on where the one before it broke off.
async fn one(fetch: &Fetch<'_, '_>, etag: &str, (mut from, until): (u64, u64), length: u64) -> Result<(), End> {
    let mut patience = fetch.patience();
    while from < until {
        let stretch = Stretch { from, until: Some(until), length: Some(length), etag };
        let last = match fetch.exchange.ask(Some(stretch)).await? {
            Answered::Stretch(response) => {
                let (reached, last) = fetch.receive(response, (from, Some(until)), &mut patience).await?;
                from = reached;
                last
            }
            // The same object shows that it cannot be had in pieces; another one has to be begun anyway.
            Answered::Whole(response) => return Err(End::NoRanges(response)),
            Answered::Replaced => return Err(End::Anew { why: REPLACED, with: None }),
            Answered::Elsewhere(region) => return Err(fetch.exchange.lost(&region).await.into()),
            Answered::Failed(last) => Some(last),
        };
        if let Some(last) = last {
            fetch.pause(&mut patience, last).await?;
        }
    }
    Ok(())
}

/// Goes on with all of them on this thread, until all are done or one has failed.
async fn all<F: Future<Output = Result<(), End>>>(futures: impl Iterator<Item = F>) -> Result<(), End> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    poll_fn(move |context| {
        let mut failed = None;
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(end)) => {
                failed.get_or_insert(end);
                false
            }
        });
        match failed {
            Some(end) => Poll::Ready(Err(end)),
            None if futures.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

//! What every line of a part's log says besides its text: the era that the part lives in.
//!
//! A span around the thread of the part: `node` and `part` come from whoever starts it, `era` from here. Each part has a
//! thread and a runtime of its own, so what its tasks say stands in it too.

use std::cell::RefCell;

use base::RingId;
use tracing::span::EnteredSpan;

thread_local! {
    static ERA: RefCell<Option<(RingId, EnteredSpan)>> = const { RefCell::new(None) };
}

/// From now on this thread's lines are of this era; `None`: of none.
pub fn era(now: Option<RingId>) {
    ERA.with_borrow_mut(|held| {
        if held.as_ref().map(|(era, _)| *era) != now {
            // left before the next one is entered: they stand beside each other, not in each other
            *held = None;
            *held = now.map(|era| (era, tracing::info_span!("era", %era).entered()));
        }
    });
}

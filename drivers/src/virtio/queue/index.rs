//! Arithmetic on ring indices. They count requests modulo 65536 for ever; only differences mean something.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Whether a peer that asked to be woken when the index passes `event` must be woken by the step from `old` to `new`
/// (VIRTIO 1.2, section 2.7.7.2).
///
/// True if `event + 1` is one of `old + 1 ..= new`, modulo 65536. The step must be shorter than 65536, which it is: no more
/// requests than the ring has places are under way. An `event` that is long past gives false: the peer is awake, or has
/// been woken and not yet said so.
#[inline]
pub fn need_event(event: u16, old: u16, new: u16) -> bool {
    // Compared without the modulo, the batch that goes round the end of the count wakes nobody, and its requests wait for ever.
    base::mistake!("R40-wrap", return old <= event && event < new);
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// How many entries lie between `seen` and the index `published` by the device, or `None` if it claims to have returned
/// more than the `in_flight` requests it has.
#[inline]
pub fn pending(published: u16, seen: u16, in_flight: u16) -> Option<u16> {
    let n = published.wrapping_sub(seen);
    (n <= in_flight).then_some(n)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    /// The rule by counting instead of by subtraction.
    fn passes(event: u16, old: u16, new: u16) -> bool {
        let mut i = old;
        while i != new {
            i = i.wrapping_add(1);
            if i == event.wrapping_add(1) {
                return true;
            }
        }
        false
    }

    #[test]
    fn an_event_is_needed_exactly_when_the_step_passes_it() {
        for old in [0u16, 1, 100, 65400, 65534, 65535] {
            for step in [0u16, 1, 2, 63, 64, 255, 256] {
                let new = old.wrapping_add(step);
                for distance in -300i32..300 {
                    let event = old.wrapping_add(distance as u16);
                    assert_eq!(need_event(event, old, new), passes(event, old, new), "{event} {old} {new}");
                }
            }
        }
    }

    /// The kick of a batch that goes round the end of the count is given, and only if the device sleeps.
    #[test]
    fn a_batch_across_the_wrap_is_not_lost() {
        // 63 requests from 65490: the index wraps to 17, and the device sleeps at 65490.
        assert!(need_event(65490, 65490, 17));
        assert!(!need_event(65489, 65490, 17), "it was woken for that one already");
    }

    #[test]
    fn a_device_cannot_return_more_than_it_has() {
        assert_eq!(pending(3, 65534, 5), Some(5));
        assert_eq!(pending(3, 65534, 4), None);
        assert_eq!(pending(65533, 65534, 256), None, "an index that went back");
        assert_eq!(pending(7, 7, 0), Some(0));
    }
}

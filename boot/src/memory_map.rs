//! Cutting what must not be touched out of the memory that a loader reports as usable.
use core::ops::Range;

/// Calls `emit` with the parts of `usable` that lie outside all of `taken`, in ascending order. `taken` must be sorted
/// by its starts; its ranges may overlap.
pub fn subtract(usable: Range<u64>, taken: &[Range<u64>], mut emit: impl FnMut(Range<u64>)) {
    let mut from = usable.start;
    for hole in taken {
        if hole.start > from && from < usable.end {
            emit(from..hole.start.min(usable.end));
        }
        from = from.max(hole.end);
    }
    if from < usable.end {
        emit(from..usable.end);
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some have one")]
mod tests {
    use super::subtract;

    fn cut(usable: core::ops::Range<u64>, taken: &[core::ops::Range<u64>]) -> Vec<core::ops::Range<u64>> {
        let mut parts = Vec::new();
        subtract(usable, taken, |part| parts.push(part));
        parts
    }

    #[test]
    fn nothing_taken_keeps_all() {
        assert_eq!(cut(10..20, &[]), [10..20]);
    }

    #[test]
    fn hole_in_the_middle_splits() {
        assert_eq!(cut(10..20, &[12..15]), [10..12, 15..20]);
    }

    #[test]
    fn holes_at_the_edges_and_outside() {
        assert_eq!(cut(10..20, &[0..11, 18..30, 40..50]), [11..18]);
        assert_eq!(cut(10..20, &[0..5, 30..40]), [10..20]);
        assert_eq!(cut(10..20, &[0..40]), []);
    }

    #[test]
    fn overlapping_holes() {
        assert_eq!(cut(10..20, &[11..16, 12..13, 15..17]), [10..11, 17..20]);
    }
}

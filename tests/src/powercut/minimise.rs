//! The smallest state that still breaks a promise: of the writes that may be lost, as few as possible are there, or as few as possible
//! are lost.
//!
//! Delta debugging: writes are given another fate, all at once, then in halves, quarters and one by one; what still fails is kept, until
//! no single write can be changed. First those that are there in part become whole.
use super::states::Fate;
use anyhow::Result;

/// Whether a state with these fates fails.
pub type Fails<'a> = &'a mut dyn FnMut(&[Fate]) -> Result<bool>;

/// The smallest fates that fail, from `found`, which do. `whole` is the fate of each write that is there as a whole.
pub fn minimise(found: &[Fate], whole: &[Fate], fails: Fails<'_>) -> Result<Vec<Fate>> {
    let lost = vec![Fate::lost(); whole.len()];
    let torn: Vec<usize> = (0..found.len()).filter(|&i| found[i] != whole[i] && !found[i].is_lost()).collect();
    let smooth = reduce(found.to_vec(), whole, torn, fails)?;
    let few_there = reduce(smooth.clone(), &lost, different(&smooth, &lost), fails)?;
    let few_lost = reduce(smooth.clone(), whole, different(&smooth, whole), fails)?;
    let (there, missing) = (different(&few_there, &lost).len(), different(&few_lost, whole).len());
    // That it fails with everything there, too, tells nothing of where to look.
    Ok(if missing > 0 && missing < there { few_lost } else { few_there })
}

/// The writes whose fates differ.
fn different(a: &[Fate], b: &[Fate]) -> Vec<usize> {
    (0..a.len()).filter(|&i| a[i] != b[i]).collect()
}

/// Gives as many of `open` as possible the fate they have in `goal`.
fn reduce(mut now: Vec<Fate>, goal: &[Fate], mut open: Vec<usize>, fails: Fails<'_>) -> Result<Vec<Fate>> {
    let mut at_once = open.len();
    while at_once > 0 && !open.is_empty() {
        let mut rest = Vec::new();
        let before = open.len();
        for part in open.chunks(at_once) {
            let mut candidate = now.clone();
            part.iter().for_each(|&i| candidate[i] = goal[i].clone());
            if fails(&candidate)? {
                now = candidate;
            } else {
                rest.extend_from_slice(part);
            }
        }
        open = rest;
        // One by one until nothing changes: a write may be in the way of another.
        if at_once > 1 || open.len() == before {
            at_once /= 2;
        }
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 4096;

    fn whole(n: usize) -> Vec<Fate> {
        vec![Fate::whole(LEN); n]
    }

    /// Minimises with `fails` told which writes are there as a whole; gives those that are there in any part, and the tries.
    fn run(found: &[Fate], fails: impl Fn(&[bool]) -> bool) -> (Vec<usize>, usize) {
        let mut tries = 0;
        let mut judge = |fates: &[Fate]| {
            tries += 1;
            Ok(fails(&fates.iter().map(|fate| *fate == Fate::whole(LEN)).collect::<Vec<_>>()))
        };
        let smallest = minimise(found, &whole(found.len()), &mut judge).unwrap();
        ((0..found.len()).filter(|&i| !smallest[i].is_lost()).collect(), tries)
    }

    #[test]
    fn nothing_is_left_where_nothing_is_needed() {
        assert_eq!(run(&whole(40), |_| true), (vec![], 1));
    }

    #[test]
    fn two_writes_of_forty_that_fail_together_are_found() {
        let (there, tries) = run(&whole(40), |there| there[3] && there[29]);
        assert_eq!(there, [3, 29]);
        assert!(tries < 60, "{tries} tries");
    }

    #[test]
    fn one_lost_write_of_forty_is_found() {
        let mut found = whole(40);
        (10..30).for_each(|i| found[i] = Fate::lost());
        let (there, _) = run(&found, |there| !there[17] && there.iter().filter(|there| **there).count() >= 20);
        assert_eq!(there, (0..40).filter(|&i| i != 17).collect::<Vec<_>>());
    }

    #[test]
    fn a_write_that_is_there_in_part_becomes_whole_unless_the_part_is_the_failure() {
        let part = Fate { there: vec![0..512, 1024..2048], early: false };
        let found = vec![part.clone(); 3];
        assert_eq!(run(&found, |there| there[1]).0, [1]);
        let mut only_torn = |fates: &[Fate]| Ok(fates[1] == part);
        assert_eq!(
            minimise(&found, &whole(3), &mut only_torn).unwrap(),
            [Fate::lost(), part.clone(), Fate::lost()],
            "the others are of no account"
        );
    }
}

//! Making a failing program small.
use super::program::{Program, Round};

/// Takes rounds and then operations away as long as `fails` says so of the rest, with at most `tries` questions. A program whose failure
/// depends on luck may keep more than it needs.
pub fn shrink(program: &Program, tries: usize, fails: &mut dyn FnMut(&Program) -> bool) -> Program {
    let mut left = tries;
    let shape = program.shape;
    let mut ask = |rounds: &[Round]| {
        left = left.saturating_sub(1);
        left > 0 && fails(&Program { shape, rounds: rounds.to_vec() })
    };
    let mut rounds = program.rounds.clone();
    remove_pieces(&mut rounds, &mut ask);
    for round in 0..rounds.len() {
        for thread in 0..rounds[round].len() {
            let mut steps = rounds[round][thread].clone();
            remove_pieces(&mut steps, &mut |steps| {
                let mut all = rounds.clone();
                all[round][thread] = steps.to_vec();
                ask(&all)
            });
            rounds[round][thread] = steps;
        }
    }
    rounds.retain(|round| round.iter().any(|steps| !steps.is_empty()));
    Program { shape, rounds }
}

/// Removes pieces, from halves down to single items, wherever what remains still fails.
fn remove_pieces<T: Clone>(items: &mut Vec<T>, fails: &mut dyn FnMut(&[T]) -> bool) {
    let mut piece = items.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < items.len() {
            let mut rest = items.clone();
            rest.drain(at..items.len().min(at + piece));
            if fails(&rest) {
                *items = rest;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Op;

    #[test]
    fn what_remains_is_what_is_needed() {
        let program = Program::new(3, 4096, 300);
        let counts = |program: &Program| {
            let steps = || program.rounds.iter().flatten().flatten();
            (
                steps().filter(|s| matches!(s.op, Op::Truncate { .. })).count(),
                steps().filter(|s| s.op == Op::Drop).count(),
            )
        };
        let (truncates, drops) = counts(&program);
        assert!(truncates > 2 && drops > 2, "there is something to take away");
        let small = shrink(&program, 10_000, &mut |program| counts(program).0 >= 2 && counts(program).1 >= 1);
        assert_eq!((small.steps(), counts(&small)), (3, (2, 1)));
    }
}

//! The first bytes on a program's stack: arguments, environment, auxiliary vector.
//!
//! ```text
//!   top    strings, random bytes
//!          padding to 16
//!          auxiliary vector, closed by AT_NULL
//!          environment pointers, closed by 0
//!          argument pointers, closed by 0
//!   sp     number of arguments
//! ```
use alloc::vec::Vec;
use base::{Errno, Result};

/// Most bytes of arguments and environment together.
const MAX_BYTES: usize = 1 << 20;

/// The stack's content and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub struct InitialStack {
    /// The stack pointer, a multiple of 16: where `bytes` begin.
    pub sp: u64,
    /// Up to the top of the stack.
    pub bytes: Vec<u8>,
}

/// Lays the stack out below `top`, a multiple of 16. `random` and the path `name` get their own entries in the auxiliary vector
/// beside `aux`. Errors: `E2BIG`.
pub fn build(
    top: u64,
    argv: &[Vec<u8>],
    envp: &[Vec<u8>],
    aux: &[(u64, u64)],
    (name_type, name): (u64, &[u8]),
    (random_type, random): (u64, [u8; 16]),
) -> Result<InitialStack> {
    let strings: usize = argv.iter().chain(envp).map(|s| s.len() + 1).sum::<usize>() + name.len() + 1 + random.len();
    let words = 1 + argv.len() + 1 + envp.len() + 1 + (aux.len() + 3) * 2;
    let total = (strings + words * 8).next_multiple_of(16);
    if total > MAX_BYTES {
        return Err(Errno::E2BIG);
    }
    let sp = top - total as u64;
    let strings_at = top - strings as u64;
    let mut area = Vec::with_capacity(strings);
    let mut push = |bytes: &[u8], terminated: bool| {
        let at = strings_at + area.len() as u64;
        area.extend_from_slice(bytes);
        area.extend(terminated.then_some(0));
        at
    };
    let mut table = Vec::with_capacity(words);
    table.push(argv.len() as u64);
    table.extend(argv.iter().map(|s| push(s, true)));
    table.push(0);
    table.extend(envp.iter().map(|s| push(s, true)));
    table.push(0);
    let name_at = push(name, true);
    let random_at = push(&random, false);
    let own = [(name_type, name_at), (random_type, random_at), (0, 0)];
    table.extend(aux.iter().chain(&own).flat_map(|&(kind, value)| [kind, value]));
    let mut bytes: Vec<u8> = table.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(total - strings, 0);
    bytes.extend_from_slice(&area);
    Ok(InitialStack { sp, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn word(stack: &InitialStack, i: usize) -> u64 {
        u64::from_le_bytes(stack.bytes[i * 8..i * 8 + 8].try_into().unwrap())
    }
    fn string(stack: &InitialStack, at: u64) -> &[u8] {
        let from = &stack.bytes[(at - stack.sp) as usize..];
        &from[..from.iter().position(|&b| b == 0).unwrap()]
    }

    #[test]
    fn the_layout_is_that_of_the_abi() {
        let argv = [b"prog".to_vec(), b"-x".to_vec()];
        let stack = build(0x8000, &argv, &[b"A=1".to_vec()], &[(6, 4096)], (31, b"/bin/prog"), (25, [7; 16])).unwrap();
        assert_eq!(stack.sp % 16, 0);
        assert_eq!(stack.sp + stack.bytes.len() as u64, 0x8000);
        assert_eq!(word(&stack, 0), 2);
        assert_eq!(string(&stack, word(&stack, 2)), b"-x");
        assert_eq!(word(&stack, 3), 0);
        assert_eq!(string(&stack, word(&stack, 4)), b"A=1");
        assert_eq!([word(&stack, 5), word(&stack, 6), word(&stack, 7)], [0, 6, 4096]);
        assert_eq!(string(&stack, word(&stack, 9)), b"/bin/prog");
        assert_eq!(word(&stack, 10), 25);
        let random = (word(&stack, 11) - stack.sp) as usize;
        assert_eq!(stack.bytes[random..random + 16], [7; 16]);
        assert_eq!([word(&stack, 12), word(&stack, 13)], [0, 0]);
    }

    #[test]
    fn too_many_arguments_are_refused() {
        let argv = vec![vec![b'x'; 4096]; 300];
        assert_eq!(build(0x7fff_0000, &argv, &[], &[], (31, b""), (25, [0; 16])), Err(Errno::E2BIG));
    }
}

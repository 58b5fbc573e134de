//! A program as text.
//!
//! ```text
//! shape files 2 threads 3 lane 5003 block 4096
//! round
//! 0 1 f0 write 100 200 through        thread, id, file, operation
//! 1 2 f1 aio 5003 512 4 durable
//! ```
use super::program::{Aio, Look, Op, Program, Shape, Step, Way};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

const WAYS: [(Way, &str); 6] = [
    (Way::Buffered, "buffered"),
    (Way::Dsync, "dsync"),
    (Way::Through, "through"),
    (Way::ThroughDsync, "through-dsync"),
    (Way::Direct, "direct"),
    (Way::Mapped, "mapped"),
];
const AIOS: [(Aio, &str); 3] = [(Aio::Plain, "plain"), (Aio::Durable, "durable"), (Aio::Nowait, "nowait")];
const LOOKS: [(Look, &str); 3] = [(Look::Buffered, "buffered"), (Look::Direct, "direct"), (Look::Mapped, "mapped")];

fn word<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    words.iter().find(|(known, _)| known == value).map_or("?", |(_, word)| word)
}

fn value<T: Copy>(words: &[(T, &'static str)], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(_, word)| *word == text);
    found.map(|(value, _)| *value).ok_or_else(|| format!("{text} is not known"))
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Shape { files, threads, lane, block } = self.shape;
        writeln!(f, "shape files {files} threads {threads} lane {lane} block {block}")?;
        for round in &self.rounds {
            writeln!(f, "round")?;
            for (thread, steps) in round.iter().enumerate() {
                steps.iter().try_for_each(|Step { id, file, op }| writeln!(f, "{thread} {id} f{file} {op}"))?;
            }
        }
        Ok(())
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Write { pos, len, way } => write!(f, "write {pos} {len} {}", word(&WAYS, way)),
            Op::Aio { pos, len, count, how } => write!(f, "aio {pos} {len} {count} {}", word(&AIOS, how)),
            Op::Append { len, way } => write!(f, "append {len} {}", word(&WAYS, way)),
            Op::Read { pos, len, look } => write!(f, "read {pos} {len} {}", word(&LOOKS, look)),
            Op::Truncate { size } => write!(f, "truncate {size}"),
            Op::Range { range, pos, len } => write!(f, "range {pos} {len} {}", range.word()),
            Op::Fsync { data_only } => f.write_str(if *data_only { "fdatasync" } else { "fsync" }),
            Op::Drop => f.write_str("drop"),
        }
    }
}

impl FromStr for Op {
    type Err = String;
    fn from_str(text: &str) -> Result<Op, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number =
            |at: usize| words.get(at).and_then(|w| w.parse::<u64>().ok()).ok_or(format!("{text}: a number is missing"));
        let last = *words.last().ok_or("an operation is missing")?;
        Ok(match words[0] {
            "write" => Op::Write { pos: number(1)?, len: number(2)?, way: value(&WAYS, last)? },
            "aio" => Op::Aio { pos: number(1)?, len: number(2)?, count: number(3)?, how: value(&AIOS, last)? },
            "append" => Op::Append { len: number(1)?, way: value(&WAYS, last)? },
            "read" => Op::Read { pos: number(1)?, len: number(2)?, look: value(&LOOKS, last)? },
            "truncate" => Op::Truncate { size: number(1)? },
            "range" => Op::Range { pos: number(1)?, len: number(2)?, range: last.parse()? },
            "fsync" | "fdatasync" => Op::Fsync { data_only: words[0] == "fdatasync" },
            "drop" => Op::Drop,
            other => return Err(format!("{other} is no operation")),
        })
    }
}

impl FromStr for Program {
    type Err = String;
    fn from_str(text: &str) -> Result<Program, String> {
        let mut lines =
            text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
        let shape = shape(lines.next().ok_or("there is no shape")?)?;
        let mut rounds = Vec::new();
        for line in lines {
            if line == "round" {
                rounds.push(Vec::new());
                continue;
            }
            let round: &mut Vec<Vec<Step>> = rounds.last_mut().ok_or("a step stands before the first round")?;
            let (thread, step) = step(line).ok_or_else(|| format!("{line}: no step"))?;
            let step = step?;
            if step.file >= shape.files || thread >= shape.threads {
                return Err(format!("{line}: no such file or thread"));
            }
            round.resize(round.len().max(thread + 1), Vec::new());
            round[thread].push(step);
        }
        Ok(Program { shape, rounds })
    }
}

fn shape(line: &str) -> Result<Shape, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let of = |name: &str| {
        let at = words.iter().position(|word| *word == name).ok_or(format!("the shape has no {name}"))?;
        words.get(at + 1).and_then(|w| w.parse::<u64>().ok()).ok_or(format!("{name} is no number"))
    };
    Ok(Shape { files: of("files")? as usize, threads: of("threads")? as usize, lane: of("lane")?, block: of("block")? })
}

fn step(line: &str) -> Option<(usize, Result<Step, String>)> {
    let (thread, rest) = line.split_once(' ')?;
    let (id, rest) = rest.split_once(' ')?;
    let (file, op) = rest.strip_prefix('f')?.split_once(' ')?;
    let (thread, id, file) = (thread.parse().ok()?, id.parse().ok()?, file.parse().ok()?);
    Some((thread, op.parse().map(|op| Step { id, file, op })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_survives_being_text() {
        for seed in 0..20 {
            let program = Program::new(seed, 1024, 200);
            assert_eq!(program.to_string().parse::<Program>().as_ref(), Ok(&program));
        }
        assert!("shape files 1".parse::<Program>().is_err());
        assert!("shape files 1 threads 1 lane 9 block 1024\nround\n0 1 f3 drop".parse::<Program>().is_err());
    }
}

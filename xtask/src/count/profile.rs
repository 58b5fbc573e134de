//! Where the instructions of one row go: by function of the binary, and by function of the source with inlined ones apart.
use crate::table::Figures;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Functions that a table shows.
const MOST: usize = 45;
const PROGRAM: &str = "[program]";

/// An address with how often it was executed.
type Count = (u64, u64);

/// Prints both tables of the profile in `path` for a row that ran `ops` operations.
pub(super) fn print(kernel: &Path, path: &Path, row: &str, ops: f64) -> Result<()> {
    let text = std::fs::read_to_string(path).context("the counter left no profile")?;
    let counts: Vec<Count> = text.lines().filter_map(parse).collect();
    let symbols = symbols(kernel)?;
    println!("{row}: by function, with what is inlined into it\n{}\n", table(&counts, ops, |at| symbol(&symbols, at)));
    let sources = sources(kernel, &counts)?;
    let by_source = table(&counts, ops, |at| sources.get(&at).cloned().unwrap_or_else(|| PROGRAM.into()));
    println!("{row}: by function of the source, inlined ones apart\n{by_source}");
    Ok(())
}

fn parse(line: &str) -> Option<Count> {
    let (address, count) = line.split_once(' ')?;
    Some((u64::from_str_radix(address, 16).ok()?, count.parse().ok()?))
}

fn table(counts: &[Count], ops: f64, name: impl Fn(u64) -> String) -> Figures {
    let mut sums: HashMap<String, u64> = HashMap::new();
    for (address, count) in counts {
        *sums.entry(name(*address)).or_default() += count;
    }
    let total: u64 = sums.values().sum();
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut table = Figures::new(&["function", "insns/op", "share"], 0);
    let mut add = |name: String, sum: u64| {
        let share = 100.0 * sum as f64 / total.max(1) as f64;
        table.row(vec![name, format!("{:.1}", sum as f64 / ops), format!("{share:.1} %")]);
    };
    add("(all)".into(), total);
    sums.into_iter().take(MOST).for_each(|(name, sum)| add(name, sum));
    table
}

/// The kernel's functions, by ascending address.
fn symbols(kernel: &Path) -> Result<Vec<(u64, String)>> {
    let out = Command::new("nm").args(["-C", "-n", "--defined-only"]).arg(kernel).output().context("cannot run nm")?;
    ensure!(out.status.success(), "nm {} failed", kernel.display());
    let text = String::from_utf8_lossy(&out.stdout);
    let function = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        let address = u64::from_str_radix(address, 16).ok()?;
        matches!(kind, "t" | "T" | "w" | "W").then(|| (address, short(name)))
    };
    Ok(text.lines().filter_map(function).collect())
}

fn symbol(symbols: &[(u64, String)], address: u64) -> String {
    if address >> 63 == 0 {
        return PROGRAM.into();
    }
    let after = symbols.partition_point(|(start, _)| *start <= address);
    after.checked_sub(1).map_or_else(|| format!("{address:#x}"), |i| symbols[i].1.clone())
}

/// The innermost function of the source for each address of the kernel.
fn sources(kernel: &Path, counts: &[Count]) -> Result<HashMap<u64, String>> {
    let addresses: Vec<u64> = counts.iter().map(|(at, _)| *at).filter(|at| at >> 63 == 1).collect();
    let mut child = Command::new("addr2line")
        .args(["-C", "-f", "-s", "-e"])
        .arg(kernel)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run addr2line")?;
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let text: String = addresses.iter().map(|at| format!("{at:#x}\n")).collect();
    let feeder = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let out = child.wait_with_output()?;
    feeder.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
    let text = String::from_utf8_lossy(&out.stdout);
    // Two lines an address: the function, then file and line.
    let lines: Vec<&str> = text.lines().collect();
    let named = |pair: &[&str]| {
        let file = pair[1].split(':').next().unwrap_or_default();
        format!("{} ({file})", short(pair[0]))
    };
    Ok(addresses.into_iter().zip(lines.chunks_exact(2).map(named)).collect())
}

/// A name without the hash that the compiler appends.
fn short(name: &str) -> String {
    let is_hash =
        |tail: &str| tail.len() == 17 && tail.starts_with('h') && tail[1..].bytes().all(|b| b.is_ascii_hexdigit());
    match name.rsplit_once("::") {
        Some((head, tail)) if is_hash(tail) => head.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_by_function_with_the_biggest_first() {
        let symbols = vec![(0xffff_ffff_8000_0000, "a".to_owned()), (0xffff_ffff_8000_0100, "b".to_owned())];
        let counts = [(0xffff_ffff_8000_0010, 5), (0xffff_ffff_8000_0104, 30), (0xffff_ffff_8000_00ff, 5), (0x40, 10)];
        let text = table(&counts, 10.0, |at| symbol(&symbols, at)).to_string();
        let places: Vec<_> = ["(all)", "| b ", "| [program] ", "| a "].iter().map(|name| text.find(name)).collect();
        assert!(places.iter().all(Option::is_some), "{text}");
        assert!(text.contains("60.0 %"), "{text}");
        assert!(places[1] < places[2], "{text}");
    }

    #[test]
    fn lines_and_names_are_read() {
        assert_eq!(parse("ffffffff80000000 12"), Some((0xffff_ffff_8000_0000, 12)));
        assert_eq!(parse("x"), None);
        assert_eq!(short("fs::read::h0123456789abcdef"), "fs::read");
        assert_eq!(short("fs::read"), "fs::read");
    }
}

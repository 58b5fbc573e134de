//! `/proc/self`: what a program finds out about itself.
use crate::kit::{Check, Outcome, Scratch, same, text};
use std::fs;
use std::os::fd::AsRawFd;
use user::sys::{FileMap, MapKind, PAGE};

pub const CHECKS: &[Check] = &[
    ("proc self is the process", number),
    ("proc exe and current_exe", exe),
    ("proc cmdline", cmdline),
    ("proc status, stat and statm", figures),
    ("proc maps", maps),
    ("proc fd", descriptors),
    ("proc mounts", mounts),
];

fn read(name: &str) -> Result<String, String> {
    fs::read_to_string(format!("/proc/self/{name}")).map_err(|e| format!("{name}: {e}"))
}

fn number() -> Outcome {
    let target = fs::read_link("/proc/self").map_err(text)?;
    same("self", target.to_str(), Some(std::process::id().to_string().as_str()))?;
    let names: Vec<_> = fs::read_dir(format!("/proc/{}", std::process::id()))
        .map_err(text)?
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(text)?;
    for name in ["exe", "cmdline", "status", "stat", "statm", "maps", "fd", "mounts"] {
        same(name, names.iter().any(|n| n == name), true)?;
    }
    let in_root = fs::read_dir("/proc").map_err(text)?.flatten();
    let numbers: Vec<_> = in_root.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).collect();
    same("numbers in /proc", numbers, vec![std::process::id()])?;
    same("no such process", fs::metadata("/proc/4000000000").is_err(), true)
}

fn exe() -> Outcome {
    let path = std::env::current_exe().map_err(text)?;
    let first = std::env::args().next();
    same("current_exe", path.to_str(), first.as_deref())?;
    let magic = fs::read("/proc/self/exe").map_err(text)?;
    same("an ELF", magic.get(..4), Some(&b"\x7fELF"[..]))
}

fn cmdline() -> Outcome {
    let text = read("cmdline")?;
    let arguments: Vec<String> = text.strip_suffix('\0').unwrap_or_default().split('\0').map(String::from).collect();
    same("cmdline", arguments, std::env::args().collect())
}

fn figures() -> Outcome {
    let status = read("status")?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_whitespace().nth(1)).map(String::from).ok_or(format!("status has no {name}"))
    };
    let id = std::process::id().to_string();
    same("Name", field("Name")?.as_str(), "rulecheck")?;
    same("Pid", field("Pid")?, id.clone())?;
    same("Threads", field("Threads")?.as_str(), "1")?;
    same("Uid", field("Uid")?.as_str(), "0")?;
    let resident: usize = field("VmRSS")?.parse().map_err(|e| format!("VmRSS: {e}"))?;
    same("VmRSS", resident > 100, true)?;
    let stat = read("stat")?;
    same("stat", stat.starts_with(&format!("{id} (rulecheck) R ")), true)?;
    same("fields of stat", stat.rsplit(')').next().map(|rest| rest.split_whitespace().count()), Some(50))?;
    let statm = read("statm")?;
    let pages: Vec<usize> = statm.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    same("fields of statm", pages.len(), 7)?;
    same("size and resident", pages[0] >= pages[1] && pages[1] * PAGE > 100 << 10, true)
}

fn maps() -> Outcome {
    let file = Scratch::new("mapped", &[1; 2 * PAGE])?;
    let map =
        FileMap::new(file.fd(), 2 * PAGE, MapKind { write: false, shared: true }).map_err(crate::kit::call("mmap"))?;
    same("the mapping", map.get(0), 1)?;
    let text = read("maps")?;
    let line = text.lines().find(|line| line.ends_with(&file.path)).ok_or("the file is not there")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    same("words", words.len(), 6)?;
    same("rights and offset", (words[1], words[2]), ("r--s", "00000000"))?;
    let (start, end) = words[0].split_once('-').ok_or("no range")?;
    let hex = |word: &str| u64::from_str_radix(word, 16).map_err(|e| e.to_string());
    same("length", hex(end)? - hex(start)?, 2 * PAGE as u64)?;
    same("code", text.lines().any(|line| line.contains(" r-xp ") && line.ends_with("/rulecheck")), true)?;
    same("stack", text.lines().any(|line| line.ends_with("[stack]")), true)?;
    drop(map);
    same("gone", read("maps")?.contains(&file.path), false)
}

fn descriptors() -> Outcome {
    let file = Scratch::new("opened", b"content")?;
    let link = format!("/proc/self/fd/{}", file.file.as_raw_fd());
    same("link", fs::read_link(&link).map_err(text)?.to_str(), Some(file.path.as_str()))?;
    same("through the link", fs::read(&link).map_err(text)?, b"content".to_vec())?;
    let (reader, _writer) = crate::kit::pipe()?;
    let target = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).map_err(text)?;
    same("a pipe", target.to_string_lossy().starts_with("pipe:["), true)?;
    let listed = fs::read_dir("/proc/self/fd").map_err(text)?.flatten();
    let numbers: Vec<i32> = listed.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for number in [0, 1, 2, file.file.as_raw_fd(), reader.as_raw_fd()] {
        same("listed", numbers.contains(&number), true).map_err(|e| format!("{number}: {e}"))?;
    }
    same("no such descriptor", fs::read_link("/proc/self/fd/999").is_err(), true)
}

fn mounts() -> Outcome {
    let mounts = read("mounts")?;
    same("mounts", &mounts, &fs::read_to_string("/proc/mounts").map_err(text)?)?;
    same("the root", mounts.lines().any(|line| line.split_whitespace().nth(1) == Some("/")), true)
}

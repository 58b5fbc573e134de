//! Somebody types at `/bin/ttytest`: each key when the program has said that it waits for it.
use anyhow::Result;
use tests::{TestDisk, kernel};
use xtask::image::{self, Spec};
use xtask::qemu::{End, Machine};

/// What is typed at each line of the program that asks for keys.
const KEYS: &[(&str, &str)] = &[
    ("ttytest: type a line with a mistake", "helx\x7flo\r"),
    ("ttytest: type an end", "\x04"),
    ("ttytest: type four raw keys", "\x03\x1a\x04\r"),
    ("ttytest: type a line for the job", "for the job\r"),
    ("ttytest: type ^C at me", "\x03"),
];
/// The keys for the jobs in front, one after the other.
const AT_JOBS: [&str; 3] = ["\x03", "\x1c", "\x1a"];

on_cpus! {
    fn keys_edit_lines_and_control_jobs(cpus: u32) -> Result<()> {
        let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["ttytest"])?;
        let mut jobs = AT_JOBS.iter();
        let mut machine = Machine::with_program(kernel(), "/bin/ttytest").disk(&disk.path).limit(60);
        machine.cpus = cpus;
        let outcome = machine.type_at(&mut |line| match line {
            "ttytest: a job is in front" => jobs.next().map(|&key| key.to_owned()),
            line => KEYS.iter().find(|(asked, _)| *asked == line).map(|&(_, keys)| keys.to_owned()),
        })?;
        let lines = &outcome.console.lines;
        let text = lines.join("\n");
        assert_eq!((outcome.end, outcome.console.init_status()), (End::Clean, Some(128 + 2)), "{text}");
        for shown in ["helx\x08 \x08lo", "ttytest: this is /dev/tty", "for the job", "ttytest: the job writes"] {
            assert!(lines.iter().any(|line| line == shown), "{shown:?} is not in:\n{text}");
        }
        assert!(lines.iter().any(|line| line.starts_with("^C")), "the echo of ^C is not in:\n{text}");
        image::check(&disk.path)
    }
}

//! The first program.
use crate::files::Tty;
use crate::process::{Program, System, start_program};
use alloc::format;
use alloc::vec::Vec;
use base::Result;
use base::sync::Arc;
use fs::vfs::File;

/// The variables that a program finds where nobody has set others: Debian's `PATH`, root's home, the plainest terminal.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("TERM", "vt100")];

/// The environment of the first program: these variables, with `own` in their place or besides.
pub fn environment<'a>(own: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Vec<u8>> {
    let mut variables: Vec<(&str, &str)> = ENVIRONMENT.to_vec();
    for (name, value) in own {
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value));
    }
    variables.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect()
}

/// Runs `file` as the first program with its arguments and its environment at the terminal `console`, waits for its end, and returns its exit code as a shell
/// shows it: 128 plus the number of the signal that killed it; 126 if it is no program. Task context. Errors: `ENOMEM`.
pub fn run_program(
    system: &Arc<System>,
    file: Arc<File>,
    path: &[u8],
    (argv, envp): (Vec<Vec<u8>>, Vec<Vec<u8>>),
    console: &Arc<Tty>,
) -> Result<u32> {
    let program = Program { file, path: path.to_vec(), argv, envp };
    let process = start_program(system, program, console)?;
    Ok(process.wait().to_code())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_variable_of_the_command_line_takes_the_place_of_the_usual_one() {
        let text = |own: &[(&str, &str)]| {
            let all = super::environment(own.iter().copied());
            all.into_iter().map(|line| alloc::string::String::from_utf8(line).unwrap()).collect::<alloc::vec::Vec<_>>()
        };
        assert!(text(&[])[0].starts_with("PATH=/usr/local/sbin:"));
        assert_eq!(text(&[("TERM", "xterm"), ("A", "1"), ("A", "2")])[1..], ["HOME=/root", "TERM=xterm", "A=2"]);
    }
}

//! The first program.
use crate::files::Tty;
use crate::process::{Program, System, start_program};
use alloc::vec::Vec;
use base::Result;
use base::sync::Arc;
use fs::vfs::File;

/// Runs `file` as the first program with `argv` and a small environment at the terminal `console`, waits for its end, and returns its exit code as a shell
/// shows it: 128 plus the number of the signal that killed it; 126 if it is no program. Task context. Errors: `ENOMEM`.
pub fn run_program(
    system: &Arc<System>,
    file: Arc<File>,
    path: &[u8],
    argv: Vec<Vec<u8>>,
    console: &Arc<Tty>,
) -> Result<u32> {
    let envp = [&b"PATH=/bin:/usr/bin"[..], b"HOME=/root", b"TERM=vt100"].map(<[u8]>::to_vec).to_vec();
    let program = Program { file, path: path.to_vec(), argv, envp };
    let process = start_program(system, program, console)?;
    Ok(process.wait().to_code())
}

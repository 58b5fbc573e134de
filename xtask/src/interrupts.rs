//! What the benchmark tells of interrupts: they must neither allocate nor free (LOCK-10).
use anyhow::{Result, bail};

/// How the line starts with which the benchmark ends.
const LINE: &str = "bench: interrupts: ";

/// Looks for the line; false if there is none, because something else ran. Errors: interrupts allocated or freed.
pub fn check(lines: &[String]) -> Result<bool> {
    let Some(told) = lines.iter().find_map(|line| line.strip_prefix(LINE)) else { return Ok(false) };
    if told != "0 allocations, 0 frees" {
        bail!("interrupts must not use the heap: {told}");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_zero_is_good() {
        let check = |line: &str| check(&["row".into(), line.into()]).map_err(|e| e.to_string());
        assert_eq!(check("bench: interrupts: 0 allocations, 0 frees"), Ok(true));
        assert_eq!(check("another line"), Ok(false));
        for told in ["1 allocations, 0 frees", "0 allocations, 2 frees", "10 allocations, 0 frees"] {
            let error = format!("interrupts must not use the heap: {told}");
            assert_eq!(check(&format!("bench: interrupts: {told}")), Err(error));
        }
    }
}

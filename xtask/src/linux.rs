//! What Linux needs for the same rows: measured in the same run, or the dated figures of `linux.json`, measured with the same benchmark
//! in the same QEMU.
use serde_json::Value;
use std::collections::HashMap;

/// The figures.
pub struct Linux {
    dated: Value,
    /// Instructions an operation by row, of this run.
    now: HashMap<String, f64>,
    origin: String,
}

/// A figure of Linux for a row of ours.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// Its value.
    pub value: f64,
    /// The row it was measured with where that is another one: Linux 6.1 has no write-through, what it has instead is compared.
    pub row: Option<String>,
}

impl Linux {
    /// Reads the table.
    pub fn load() -> Linux {
        let dated: Value = serde_json::from_str(include_str!("linux.json")).expect("linux.json is JSON");
        let text = |key: &str| dated[key].as_str().unwrap_or_default();
        let origin = format!("{}; {}; measured {}", text("system"), text("method"), text("measured"));
        Linux { dated, now: HashMap::new(), origin }
    }

    /// With what was counted on Linux of this package version just now, and the rows that slept, which made them dearer. It replaces the
    /// dated figures altogether.
    pub fn measured(self, version: &str, now: HashMap<String, f64>, slept: Vec<&str>) -> Linux {
        let mut origin = format!("6.1 (Debian {version}, cloud kernel), measured in this run like Sluice");
        if !slept.is_empty() {
            origin += &format!("; it slept in {}", slept.join(", "));
        }
        Linux { now, origin, ..self }
    }

    /// With the reason why the dated figures stand in.
    pub fn not_measured(self, why: &str) -> Linux {
        let origin = format!("NOT measured in this run ({why}); dated figures stand in: {}", self.origin);
        Linux { origin, ..self }
    }

    /// Which system, when, and how.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Instructions an operation.
    pub fn instructions(&self, row: &str) -> Option<Figure> {
        let table = |row: &str| {
            if self.now.is_empty() { self.dated["instructions"][row].as_f64() } else { self.now.get(row).copied() }
        };
        self.figure(&table, row)
    }

    /// The share of the time inside `io_submit`, in percent, on a device with a latency of 1 ms.
    pub fn submit_share(&self, row: &str) -> Option<Figure> {
        self.figure(&|row| self.dated["submit_share_percent_at_1_ms"][row].as_f64(), row)
    }

    /// The most instructions that a row of ours may take: what Linux takes, or less where `linux.json` asks for it.
    pub fn target(&self, row: &str) -> Option<f64> {
        let stricter = self.dated["targets"][row].as_f64();
        let linux = self.instructions(row).map(|figure| figure.value);
        stricter.into_iter().chain(linux).reduce(f64::min)
    }

    fn figure(&self, table: &dyn Fn(&str) -> Option<f64>, row: &str) -> Option<Figure> {
        let own = table(row).map(|value| Figure { value, row: None });
        own.or_else(|| {
            let counterpart = self.dated["counterparts"][row].as_str()?;
            Some(Figure { value: table(counterpart)?, row: Some(counterpart.to_owned()) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_through_is_compared_with_what_linux_has() {
        let linux = Linux::load();
        assert_eq!(linux.instructions("getppid"), Some(Figure { value: 332.0, row: None }));
        let direct = Figure { value: 9794.0, row: Some("aio_w_direct_qd32".into()) };
        assert_eq!(linux.instructions("aio_w_wt_qd32"), Some(direct));
        assert_eq!(linux.instructions("nothing"), None);
        assert_eq!(linux.submit_share("aio_w_wt_dsync_qd32").map(|f| f.value), Some(100.0));
        assert!(linux.origin().contains("2026-11-"));
    }

    #[test]
    fn what_was_measured_now_replaces_the_dated_figures_and_keeps_stricter_targets() {
        let now = [("getppid", 300.0), ("pread_4k", 1000.0), ("aio_w_direct_qd32", 9000.0)];
        let linux =
            Linux::load().measured("6.1.1-1", now.map(|(row, value)| (row.to_owned(), value)).into(), vec!["stat"]);
        assert_eq!(linux.instructions("aio_w_wt_qd32").map(|f| f.value), Some(9000.0));
        assert_eq!(linux.instructions("stat"), None);
        assert_eq!([linux.target("getppid"), linux.target("pread_4k")], [Some(166.0), Some(1000.0)]);
        assert_eq!([linux.target("aio_w_wt_qd32"), linux.target("stat")], [Some(9000.0), Some(2447.0)]);
        assert_eq!([linux.target("fstat"), Linux::load().target("fstat")], [None, Some(709.0)]);
        assert!(
            linux.origin().contains("6.1.1-1")
                && linux.origin().contains("this run")
                && linux.origin().contains("slept in stat")
        );
        assert!(Linux::load().not_measured("LINUX=0").origin().contains("NOT measured in this run (LINUX=0)"));
    }
}

//! What Linux needs for the same rows: the dated figures of `linux.json`, measured with the same benchmark in the same QEMU.
use serde_json::Value;

/// The figures.
pub struct Linux(Value);

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
        Linux(serde_json::from_str(include_str!("linux.json")).expect("linux.json is JSON"))
    }

    /// Which system, when, and how.
    pub fn origin(&self) -> String {
        let text = |key: &str| self.0[key].as_str().unwrap_or_default().to_owned();
        format!("{}; {}; measured {}", text("system"), text("method"), text("measured"))
    }

    /// Instructions an operation.
    pub fn instructions(&self, row: &str) -> Option<Figure> {
        self.figure("instructions", row)
    }

    /// The share of the time inside `io_submit`, in percent, on a device with a latency of 1 ms.
    pub fn submit_share(&self, row: &str) -> Option<Figure> {
        self.figure("submit_share_percent_at_1_ms", row)
    }

    /// The most instructions that a row of ours may take.
    pub fn target(&self, row: &str) -> Option<f64> {
        self.0["targets"][row].as_f64()
    }

    fn figure(&self, table: &str, row: &str) -> Option<Figure> {
        let own = self.0[table][row].as_f64().map(|value| Figure { value, row: None });
        own.or_else(|| {
            let counterpart = self.0["counterparts"][row].as_str()?;
            let value = self.0[table][counterpart].as_f64()?;
            Some(Figure { value, row: Some(counterpart.to_owned()) })
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
        assert!(linux.origin().contains("2026-11-22"));
    }
}

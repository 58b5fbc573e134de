//! What the models of inodes stand on.
use base::Result;
use fs::vfs::{StatFs, SuperOps};

/// A file system with nothing in it.
pub struct NoFs;
impl SuperOps for NoFs {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn type_name(&self) -> &'static str {
        "none"
    }
    fn statfs(&self) -> StatFs {
        StatFs::default()
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn unmount(&self) -> Result<()> {
        Ok(())
    }
}

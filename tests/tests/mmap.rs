//! Mappings of files, from ring 3, and what the disk has afterwards.
use anyhow::Result;
use tests::TestDisk;
use xtask::image::{self, Spec};
use xtask::qemu::End;

const PAGE: usize = 4096;

#[test]
fn mappings_agree_with_the_file_and_the_disk() -> Result<()> {
    for block_size in [4096, 1024] {
        let spec = Spec { block_size, ..Spec::default() };
        let disk = TestDisk::new(&spec, &["maptest"])?;
        disk.run_ok("/bin/maptest", 60)?;
        let pages = |path: &str| -> Result<Vec<u8>> {
            Ok(image::read_file(&disk.path, path)?.chunks(PAGE).map(|page| page[page.len() - 1]).collect())
        };
        assert_eq!(pages("/data/coherence")?, [1, 42]);
        assert_eq!(pages("/data/private")?, [1, 2], "stores to a private mapping never reach the disk");
        assert_eq!(pages("/data/truncate")?, [1, 0, 0]);
        assert_eq!(pages("/data/self1")?, [1, 2]);
        assert_eq!(pages("/data/source.copy")?, [1, 1, 3]);
    }
    Ok(())
}

#[test]
fn mm_6_a_load_past_the_end_is_sigbus() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &["maptest"])?;
    let outcome = disk.run("/bin/maptest bus", 30)?;
    assert!(outcome.console.lines.iter().any(|line| line.contains("about to touch")), "{:?}", outcome.console.lines);
    assert_eq!((outcome.end, outcome.console.init_status()), (End::Clean, Some(128 + 7)));
    image::check(&disk.path)
}

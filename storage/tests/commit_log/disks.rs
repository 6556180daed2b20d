//! One suite for every kind of disk, and what only the twin in memory can do.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::disk::{Dir, Disk, DiskFile, RamDisk};

use super::support::on_both;

fn read(file: &dyn DiskFile, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    let n = file.read_at(offset, &mut bytes).unwrap();
    bytes.truncate(n);
    bytes
}

fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

#[test]
fn a_new_file_reads_as_zeros_and_its_name_is_taken() {
    on_both(|new| {
        let disk = new();
        let file = disk.create("a", 1000).unwrap();
        assert_eq!(file.len().unwrap(), 1000);
        assert_eq!(read(&*file, 990, 100), [0; 10]);
        assert_eq!(disk.create("a", 0).err().unwrap().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.open("b").err().unwrap().kind(), ErrorKind::NotFound);
        assert!(disk.create("empty", 0).unwrap().is_empty().unwrap());
    });
}

#[test]
fn writes_land_where_they_should_and_lengthen_the_file() {
    on_both(|new| {
        let disk = new();
        let mut file = disk.create("a", 10).unwrap();
        file.write_at(508, b"over a sector").unwrap();
        file.write_at(510, b"ER").unwrap();
        file.sync_data().unwrap();
        let file = disk.open("a").unwrap();
        assert_eq!(file.len().unwrap(), 521);
        assert_eq!(read(&*file, 508, 100), b"ovER a sector");
        assert_eq!(read(&*file, 0, 508), [0; 508]);
        assert_eq!(read(&*file, 521, 5), b"");
        assert_eq!(read(&*file, 9999, 5), b"");
    });
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    on_both(|new| {
        let disk = new();
        let mut file = disk.create("a", 0).unwrap();
        file.write_at(0, &[7; 2000]).unwrap();
        file.set_len(700).unwrap();
        assert_eq!(file.len().unwrap(), 700);
        file.set_len(1500).unwrap();
        assert_eq!(read(&*file, 699, 2000)[..2], [7, 0]);
        assert_eq!(read(&*file, 700, 2000), [0; 800]);
    });
}

#[test]
fn names_change_and_a_rename_replaces() {
    on_both(|new| {
        let disk = new();
        disk.create("a", 1).unwrap().write_at(0, b"a").unwrap();
        disk.create("b", 1).unwrap().write_at(0, b"b").unwrap();
        disk.create("c", 1).unwrap();
        disk.rename("a", "b").unwrap();
        disk.remove("c").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(names(&*disk), ["b"]);
        assert_eq!(read(&*disk.open("b").unwrap(), 0, 9), b"a");
        assert_eq!(disk.rename("a", "z").err().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(disk.remove("c").err().unwrap().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_both(|new| {
        let disk = new();
        let mut file = disk.create("a", 4).unwrap();
        file.write_at(0, b"here").unwrap();
        disk.remove("a").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(read(&*file, 0, 4), b"here");
    });
}

#[test]
fn a_real_folder_is_private_and_lists_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Dir::open(folder.path().join("deep/down")).unwrap();
    disk.create("a", 4096).unwrap();
    std::fs::create_dir(disk.path().join("folder")).unwrap();
    assert_eq!(names(&disk), ["a"]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(disk.path()), mode(&disk.path().join("a"))), (0o700, 0o600));
    assert!(Dir::open(disk.path().join("a")).is_err());
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
    let (mut none, mut all, mut part, mut named) = (0, 0, 0, 0);
    for seed in 0..400 {
        let disk = RamDisk::new();
        let mut file = disk.create("a", 4096).unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(1024, &[2; 2048]).unwrap();
        disk.create("b", 1).unwrap();
        disk.power_cut(seed);
        assert!(file.write_at(0, b"x").is_err(), "the old process is dead");

        let file = disk.open("a").unwrap();
        assert_eq!(read(&*file, 0, 1024), [1; 1024]);
        assert_eq!(read(&*file, 3072, 1024), [0; 1024]);
        let new = read(&*file, 1024, 2048);
        let mut survived = 0;
        for (i, sector) in new.chunks(512).enumerate() {
            let old = u8::from(i < 2);
            assert!(sector.iter().all(|&b| b == sector[0]), "a sector is written as a whole");
            assert!(sector[0] == 2 || sector[0] == old);
            survived += usize::from(sector[0] == 2);
        }
        match survived {
            0 => none += 1,
            4 => all += 1,
            _ => part += 1,
        }
        named += usize::from(names(&disk).len() == 2);
    }
    assert!(none > 50 && all > 50 && part > 50 && (50..350).contains(&named), "{none} {all} {part} {named}");
}

#[test]
fn the_same_seed_gives_the_same_power_cut() {
    let after = |seed| {
        let disk = RamDisk::new();
        let mut file = disk.create("a", 0).unwrap();
        disk.sync_dir().unwrap();
        file.write_at(0, &[3; 8192]).unwrap();
        disk.power_cut(seed);
        super::support::image(&disk)
    };
    for seed in 0..50 {
        assert_eq!(after(seed), after(seed));
    }
}

#[test]
fn a_second_flush_does_not_save_what_the_first_failed_to() {
    let mut lost = 0;
    for seed in 0..40 {
        let disk = RamDisk::new();
        let mut file = disk.create("a", 512).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(0, &[5; 512]).unwrap();
        disk.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Broken });
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        disk.power_cut(seed);
        lost += usize::from(read(&*disk.open("a").unwrap(), 0, 1) == [0]);
    }
    assert!(lost > 10, "{lost}");
}

#[test]
fn planned_faults_happen_once_and_in_their_place() {
    let disk = RamDisk::new();
    let mut file = disk.create("a", 0).unwrap();
    disk.plan(Fault { operation: Operation::Write, after: 1, effect: Effect::Short(3) });
    file.write_at(0, b"first").unwrap();
    assert_eq!(file.write_at(0, b"second").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(read(&*file, 0, 9), b"secst");
    file.write_at(0, b"third").unwrap();
    let counts = disk.counts();
    assert_eq!((counts.writes, counts.bytes, counts.syncs), (3, 13, 0));
    for (operation, attempt) in [
        (Operation::Create, (|disk| disk.create("b", 0).map(drop)) as fn(&RamDisk) -> std::io::Result<()>),
        (Operation::Rename, |disk| disk.rename("a", "b")),
        (Operation::Remove, |disk| disk.remove("a")),
        (Operation::SyncDir, Disk::sync_dir),
    ] {
        disk.plan(Fault { operation, after: 0, effect: Effect::Broken });
        attempt(&disk).unwrap_err();
        assert_eq!(names(&disk), ["a"], "{operation:?}");
    }
}

//! What is cut off, what is reported, and what is refused.

use chasqui_storage::commit_log::{LogError, Position};
use chasqui_storage::disk::{Disk, RamDisk};
use std::sync::Arc;

use super::support::{
    Image, KEY, NewDisk, RECORD_HEADER, SEGMENT_HEADER, image, on_both, open, payload, payloads, restore,
};

const ZERO: Position = Position::new(0);
const FIRST: &str = "0000000000000000.log";

fn on(new: NewDisk<'_>, image: &Image) -> Arc<dyn Disk> {
    let disk = new();
    restore(&*disk, image);
    disk
}

/// Three batches in one segment: the image, the beginning of each batch, and the end.
fn three_batches() -> (Image, Vec<usize>, Vec<usize>) {
    let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
    let (mut log, _) = open(&disk, 2048, ZERO).unwrap();
    let mut begin = Vec::new();
    let mut used = Vec::new();
    for n in 0..3 {
        begin.push(log.end().get() as usize);
        log.append(&[payload(n, 20), payload(n, 30 + n)]).unwrap();
        used.push(begin[n] + RECORD_HEADER + 4 + 20 + 4 + 30 + n);
    }
    begin.push(log.end().get() as usize);
    (image(&*disk), begin, used)
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let (whole, begin, used) = three_batches();
    on_both(|new| {
        for torn in begin[2]..used[2] {
            for junk in [0, 0xA5] {
                let mut image = whole.clone();
                let bytes = image.get_mut(FIRST).unwrap();
                if bytes[SEGMENT_HEADER + torn] == junk {
                    continue;
                }
                bytes[SEGMENT_HEADER + torn..SEGMENT_HEADER + begin[3]].fill(junk);
                let disk = on(new, &image);
                let (mut log, replayed) = open(&disk, 2048, ZERO).unwrap();
                assert_eq!(replayed.len(), 4, "torn at {torn}");
                assert_eq!(log.end().get() as usize, begin[2]);
                // Nothing is left of it, and the log goes on.
                let rest = &super::support::image(&*disk)[FIRST][SEGMENT_HEADER + begin[2]..];
                assert!(rest.iter().all(|&byte| byte == 0), "torn at {torn}");
                log.append(&[payload(9, 3)]).unwrap();
                let (_, replayed) = open(&disk, 2048, ZERO).unwrap();
                assert_eq!(payloads(&replayed)[3..], [payload(1, 31), payload(9, 3)]);
            }
        }
    });
}

#[test]
fn a_file_that_ends_early_is_a_torn_tail() {
    let (whole, begin, _) = three_batches();
    on_both(|new| {
        for len in (begin[2]..begin[3]).step_by(5) {
            let mut image = whole.clone();
            image.get_mut(FIRST).unwrap().truncate(SEGMENT_HEADER + len);
            let disk = on(new, &image);
            let (mut log, replayed) = open(&disk, 2048, ZERO).unwrap();
            assert_eq!(replayed.len(), 4);
            log.append(&[payload(9, 500)]).unwrap();
            assert_eq!(payloads(&open(&disk, 2048, ZERO).unwrap().1)[4], payload(9, 500));
        }
    });
}

#[test]
fn damage_before_an_intact_batch_is_reported_and_changes_nothing() {
    let (whole, begin, used) = three_batches();
    on_both(|new| {
        for batch in 0..2 {
            for at in begin[batch]..used[batch] {
                let mut image = whole.clone();
                image.get_mut(FIRST).unwrap()[SEGMENT_HEADER + at] ^= 1 << (at % 8);
                let disk = on(new, &image);
                match open(&disk, 2048, ZERO).err().expect("damage is not skipped") {
                    LogError::Damaged { file, position, next_valid } => {
                        assert_eq!(file, FIRST);
                        let expected = (begin[batch], begin[batch + 1]);
                        assert_eq!(
                            (position.get() as usize, next_valid.get() as usize),
                            expected,
                            "bit at {at}"
                        );
                    }
                    other => panic!("bit at {at}: {other}"),
                }
                assert_eq!(super::support::image(&*disk), image, "a damaged log is left as it was");
            }
        }
    });
}

#[test]
fn damage_in_the_last_batch_is_seen_when_the_state_has_been_further() {
    let (whole, begin, _) = three_batches();
    let mut image = whole.clone();
    image.get_mut(FIRST).unwrap()[SEGMENT_HEADER + begin[2] + 20] ^= 1;
    on_both(|new| {
        let from = Position::new(begin[3] as u64);
        let error = open(&on(new, &image), 2048, from).err().unwrap();
        assert!(matches!(error, LogError::Behind { end, .. } if end.get() as usize == begin[2]), "{error}");
    });
}

#[test]
fn the_next_intact_batch_is_found_however_far_behind_it_lies() {
    for zeros in
        [1, 3000, 4096, 8192 - 48, 8192, 12_000, (1 << 20) - 4096, (1 << 20) - 540, 1 << 20, (2 << 20) + 4000]
    {
        for before in [1, 100, 3500] {
            let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
            let (mut log, _) = open(&disk, 4 << 20, ZERO).unwrap();
            let middle = log.append(&[payload(0, before)]).unwrap();
            // Zeros, as there may be between two batches in a page that was lost.
            let last = log.append(&[vec![0; zeros].into()]).unwrap();
            log.append(&[payload(1, 30)]).unwrap();
            let mut file = disk.open(FIRST).unwrap();
            for (damaged, expected) in [(ZERO, middle), (middle, last)] {
                let place = SEGMENT_HEADER as u64 + damaged.get();
                file.write_at(place, &[0; RECORD_HEADER]).unwrap();
                match open(&disk, 4 << 20, ZERO).err().unwrap() {
                    LogError::Damaged { position, next_valid, .. } => {
                        assert_eq!((position, next_valid), (ZERO, expected), "{zeros} zeros behind {before}");
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
}

/// One batch to a segment.
fn four_segments() -> (Image, Vec<u64>) {
    let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
    let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
    let mut begin = Vec::new();
    for n in 0..4 {
        begin.push(log.end().get());
        log.append(&[payload(n, 300)]).unwrap();
    }
    (image(&*disk), begin)
}

#[test]
fn a_later_segment_proves_that_the_log_went_on() {
    let (whole, begin) = four_segments();
    assert_eq!(whole.len(), 4);
    on_both(|new| {
        for hit in 0..3 {
            let name = format!("{:016x}.log", begin[hit]);
            let mut image = whole.clone();
            // Even if nothing in it is intact, or it is empty.
            let last = format!("{:016x}.log", begin[3]);
            image.get_mut(&last).unwrap()[SEGMENT_HEADER..].fill(0);
            image.get_mut(&name).unwrap()[SEGMENT_HEADER + 40] ^= 4;
            match open(&on(new, &image), 1024, ZERO).err().unwrap() {
                LogError::Damaged { file, position, next_valid } => {
                    assert_eq!((file, position.get(), next_valid.get()), (name, begin[hit], begin[hit + 1]));
                }
                other => panic!("{other}"),
            }
        }
    });
}

#[test]
fn a_missing_segment_is_damage() {
    let (whole, begin) = four_segments();
    on_both(|new| {
        let mut image = whole.clone();
        image.remove(&format!("{:016x}.log", begin[1]));
        let error = open(&on(new, &image), 1024, ZERO).err().unwrap();
        assert!(
            matches!(error, LogError::Damaged { position, next_valid, .. }
                if (position.get(), next_valid.get()) == (begin[1], begin[2])),
            "{error}"
        );
        // Below what is needed anyway, an interrupted release may have left any of them.
        let (log, replayed) = open(&on(new, &image), 1024, Position::new(begin[2])).unwrap();
        assert_eq!(payloads(&replayed), [payload(2, 300), payload(3, 300)]);
        assert_eq!(log.segments(), 3);
    });
}

#[test]
fn a_damaged_header_is_reported_with_the_name_of_the_file() {
    let (whole, begin) = four_segments();
    on_both(|new| {
        for hit in &begin {
            let name = format!("{hit:016x}.log");
            for at in 0..64 {
                let mut image = whole.clone();
                image.get_mut(&name).unwrap()[at] ^= 0x10;
                let error = open(&on(new, &image), 1024, ZERO).err().unwrap();
                assert!(matches!(&error, LogError::BadSegment { file, .. } if *file == name), "{error}");
            }
            let mut image = whole.clone();
            image.get_mut(&name).unwrap().truncate(30);
            let error = open(&on(new, &image), 1024, ZERO).err().unwrap();
            assert!(matches!(&error, LogError::BadSegment { file, .. } if *file == name), "{error}");
        }
    });
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (mut whole, begin) = four_segments();
    let name = format!("{:016x}.log", begin[2]);
    let header = &mut whole.get_mut(&name).unwrap()[..64];
    header[20] ^= 1;
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    on_both(|new| {
        let error = open(&on(new, &whole), 1024, ZERO).err().unwrap();
        assert!(
            matches!(&error, LogError::BadSegment { reason: "it belongs to another log", .. }),
            "{error}"
        );
    });
}

#[test]
fn records_of_another_place_are_never_taken() {
    // The second batch again, at the end, as a mixed-up block would put it.
    let (mut whole, begin, _) = three_batches();
    let bytes = whole.get_mut(FIRST).unwrap();
    let again = bytes[SEGMENT_HEADER + begin[1]..SEGMENT_HEADER + begin[2]].to_vec();
    bytes[SEGMENT_HEADER + begin[3]..][..again.len()].copy_from_slice(&again);
    on_both(|new| {
        let (log, replayed) = open(&on(new, &whole), 2048, ZERO).unwrap();
        assert_eq!((replayed.len(), log.end().get() as usize), (6, begin[3]));
    });
}

#[test]
fn a_newer_format_is_refused_in_a_sentence() {
    let (whole, begin, _) = three_batches();
    let mut newer_file = whole.clone();
    let header = &mut newer_file.get_mut(FIRST).unwrap()[..64];
    header[8] = 2;
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());

    let reseal = |offset: usize, value: u8| {
        let mut image = whole.clone();
        let record = &mut image.get_mut(FIRST).unwrap()[SEGMENT_HEADER + begin[1]..SEGMENT_HEADER + begin[2]];
        record[offset] = value;
        let length = u32::from_le_bytes(record[..4].try_into().unwrap()) as usize;
        let position = (begin[1] as u64).to_le_bytes();
        let body = [&KEY[8..], &position, &record[..8], &record[16..16 + length]].concat();
        record[8..12].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        let head = [&KEY[..8], &position, &record[..12]].concat();
        record[12..16].copy_from_slice(&crc32c::crc32c(&head).to_le_bytes());
        image
    };
    on_both(|new| {
        let refusal = |image: &Image| {
            let disk = on(new, image);
            let error = open(&disk, 2048, ZERO).err().unwrap().to_string();
            assert_eq!(super::support::image(&*disk), *image);
            error
        };
        let sentence = |found: u32| {
            format!(
                "{FIRST} was written in format {found} by a newer version of this program, which reads up to format \
                 1: run that version"
            )
        };
        assert_eq!(refusal(&newer_file), sentence(2));
        assert_eq!(refusal(&reseal(5, 3)), sentence(3));
        assert_eq!(
            refusal(&reseal(4, 7)),
            format!(
                "{FIRST} holds a record of unknown kind 7 at position {}: run the version that wrote it",
                begin[1]
            )
        );
    });
}

#[test]
fn a_record_forged_in_a_payload_is_not_taken_for_one() {
    // A client knows the format, and even the position, but not the key.
    let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
    let (mut log, _) = open(&disk, 2048, ZERO).unwrap();
    let inner = SEGMENT_HEADER + RECORD_HEADER + 8;
    let position = ((RECORD_HEADER + 8) as u64).to_le_bytes();
    let mut forged = vec![0; 4];
    let mut record = vec![5, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'!'];
    let body = [&[0; 8][..], &position, &record[..8], &record[16..]].concat();
    record[8..12].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    let head = [&[0; 8][..], &position, &record[..12]].concat();
    record[12..16].copy_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    forged.extend_from_slice(&record);
    log.append(&[forged.into()]).unwrap();
    let mut image = image(&*disk);
    let bytes = image.get_mut(FIRST).unwrap();
    assert_eq!(bytes[inner..inner + record.len()], record);
    bytes[SEGMENT_HEADER] ^= 1;
    on_both(|new| {
        let (log, replayed) = open(&on(new, &image), 2048, ZERO).unwrap();
        assert_eq!((replayed.len(), log.end()), (0, ZERO));
    });
}

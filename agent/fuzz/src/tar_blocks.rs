//! The headers of tar archives get the checksums that they should have: a changed one would be refused
//! for that alone.

const BLOCK: usize = 512;

/// Puts checksums right in an archive of whole blocks. One with an odd end is left as it is.
pub fn mended(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    if !archive.len().is_multiple_of(BLOCK) {
        return archive;
    }
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + BLOCK) {
        if header.iter().any(|byte| *byte != 0) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        at += BLOCK * (1 + size(header).div_ceil(BLOCK));
    }
    archive
}

/// The length of an entry's content; too long a one reaches over the end.
fn size(header: &[u8]) -> usize {
    let digits = header[124..136].iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    digits.fold(0usize, |size, digit| size * 8 + usize::from(*digit - b'0')).min(1 << 30)
}

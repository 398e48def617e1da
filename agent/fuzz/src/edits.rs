//! Small changes of something genuine, as the fuzzer's bytes describe them.

/// Where, and what to do there: each takes five bytes.
const LENGTH: usize = 5;

/// A byte is set, or a run of bytes becomes zeros, as a block does that was never written.
pub fn overwrite(genuine: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    for edit in edits.chunks_exact(LENGTH) {
        let at = position(edit, bytes.len());
        match edit[3] % 4 {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(usize::from(edit[4])).for_each(|byte| *byte = 0),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= edit[4]),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = edit[4]),
        }
    }
    bytes
}

/// As [`overwrite`]; and bytes come and go.
pub fn change(genuine: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    for edit in edits.chunks_exact(LENGTH) {
        let at = position(edit, bytes.len());
        match edit[3] % 3 {
            0 if at < bytes.len() => {
                bytes.remove(at);
            }
            1 => bytes.insert(at, edit[4]),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= edit[4]),
        }
    }
    bytes
}

fn position(edit: &[u8], length: usize) -> usize {
    let at = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize;
    if length == 0 { 0 } else { at % length }
}

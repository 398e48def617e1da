//! Any bytes as the files of a hook's runner.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use slipway_agent::hooks::record::{ChildRecord, Exit, RunnerSpec, Started};
use slipway_agent::store::{self, StoreError, Stored};

use crate::place;

/// The first byte says which file it is: `s`pec.json, start`e`d, `c`hild, e`x`it.json.
pub fn check(data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    match which {
        b's' => file::<RunnerSpec>(text),
        b'e' => file::<Started>(text),
        b'c' => file::<ChildRecord>(text),
        b'x' => file::<Exit>(text),
        _ => {}
    }
}

/// What is read can be written and is then read the same; what is refused is named.
fn file<T: Stored + PartialEq + std::fmt::Debug>(text: &[u8]) {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| place::own("runner-files").join("file"));
    fs::write(path, text).expect("a file");
    match store::read::<T>(path) {
        Ok(Some(read)) => {
            let written = store::to_json(path, &read).expect("JSON of what was read");
            fs::write(path, &written).expect("a file");
            assert_eq!(store::read::<T>(path).expect("what was written").as_ref(), Some(&read));
        }
        Ok(None) => panic!("the file is there"),
        Err(error @ (StoreError::Malformed { .. } | StoreError::Newer { .. } | StoreError::Damaged { .. })) => {
            assert!(error.to_string().contains(&path.display().to_string()));
        }
        Err(error) => panic!("{error}"),
    }
}

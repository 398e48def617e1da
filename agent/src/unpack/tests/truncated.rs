//! Archives that lost something on the way.

use super::*;

/// Cuts a bundle at many points and expects each part to be refused, with all its memory of it.
fn refused_at_every_cut(bundle: &[u8], bundle_type: BundleType, least: usize) {
    let mut cuts: Vec<usize> = (0..bundle.len()).step_by((bundle.len() / 150).max(1)).collect();
    cuts.extend(bundle.len().saturating_sub(20)..bundle.len());
    cuts.extend((0..bundle.len()).step_by(512));
    cuts.retain(|cut| *cut >= 512.min(bundle.len() / 2) && *cut <= bundle.len() - least);
    assert!(cuts.len() > 20);
    for cut in cuts {
        match Scene::with(&bundle[..cut]).unpack(bundle_type, &Policy::default()) {
            Err(UnpackError::Truncated(_) | UnpackError::Damaged { .. }) => {}
            Err(other) => panic!("cut at {cut} of {}: {other}", bundle.len()),
            Ok(_) => panic!("cut at {cut} of {}: unpacked", bundle.len()),
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..length).map(|_| random.u8(..)).collect()
}

#[test]
fn a_cut_bundle_is_never_taken_for_a_whole_one() {
    let content = noise(5000);
    let plain = tar(&[directory("d/"), file("d/a", &content), file("d/b", &content[..512]), file("c", b"1")]);
    // Two blocks of zeros end an archive; one of them is enough to know its end.
    refused_at_every_cut(&plain, BundleType::Tar, 1024);
    refused_at_every_cut(&gzip(&plain), BundleType::Tgz, 1);
    refused_at_every_cut(&zstd::stream::encode_all(&plain[..], 3).unwrap(), BundleType::Tar, 1);
    let zip = zip(|writer| {
        for name in ["a", "b"] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(&content).unwrap();
        }
    });
    refused_at_every_cut(&zip, BundleType::Zip, 1);
}

#[test]
fn the_entry_where_it_broke_off_is_named() {
    let bundle = tar(&[file("first", b"1"), file("second", &noise(4000))]);
    let error = refused(&bundle[..2500], BundleType::Tar);
    assert!(matches!(&error, UnpackError::Truncated(Some(entry)) if entry == "second"), "{error}");
}

#[test]
fn a_flipped_bit_in_compressed_content_is_noticed() {
    let content = noise(3000);
    let plain = tar(&[file("a", &content)]);
    let gz = gzip(&plain);
    let zip = zip(|writer| {
        writer.start_file("a", SimpleFileOptions::default()).unwrap();
        writer.write_all(&content).unwrap();
    });
    for at in (300..2500).step_by(37) {
        let mut changed = gz.clone();
        changed[at] ^= 4;
        Scene::with(&changed).unpack(BundleType::Tgz, &Policy::default()).unwrap_err();
        let mut changed = zip.clone();
        changed[at] ^= 4;
        Scene::with(&changed).unpack(BundleType::Zip, &Policy::default()).unwrap_err();
    }
    let mut trailer = gz.clone();
    let end = trailer.len();
    trailer[end - 6] ^= 1;
    let error = refused(&trailer, BundleType::Tgz);
    assert!(matches!(error, UnpackError::Damaged { .. }), "{error}");
}

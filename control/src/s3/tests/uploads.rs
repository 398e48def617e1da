use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::*;

const PART: usize = 5 * 1024 * 1024;

impl Fixture {
    async fn begin(&self, key: &str, headers: &[(&str, &str)]) -> String {
        let begun = self.send(("POST", &format!("/bundles/{key}?uploads")), headers, "").await;
        assert_eq!(begun.status, StatusCode::OK, "{}", begun.text());
        begun.elements("UploadId").pop().unwrap()
    }

    async fn part(&self, key: &str, upload: &str, number: u32, content: Vec<u8>) -> Answered {
        self.send(("PUT", &format!("/bundles/{key}?partNumber={number}&uploadId={upload}")), &[], content).await
    }

    async fn complete(&self, key: &str, upload: &str, parts: &[(u32, &str)]) -> Answered {
        let parts: String = parts
            .iter()
            .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
            .collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.send(("POST", &format!("/bundles/{key}?uploadId={upload}")), &[], body).await
    }
}

#[tokio::test]
async fn parts_become_one_object_in_any_order_of_arrival() {
    let fixture = Fixture::new().await;
    let upload = fixture.begin("big", &[("content-type", "application/zip"), ("x-amz-meta-a", "b")]).await;
    let (one, two) = (vec![1; PART], vec![2; 100]);
    let replaced = fixture.part("big", &upload, 1, vec![9; PART]).await;
    let second = fixture.part("big", &upload, 2, two.clone()).await;
    let first = fixture.part("big", &upload, 1, one.clone()).await;
    assert_eq!(fixture.files().len(), 2, "the replaced part is gone");
    let listed = fixture.get(&format!("/bundles/big?uploadId={upload}"), &[]).await;
    assert_eq!(listed.elements("PartNumber"), ["1", "2"]);
    assert_eq!(fixture.get("/bundles?uploads", &[]).await.elements("UploadId")[..], *std::slice::from_ref(&upload));
    assert_eq!(fixture.get("/bundles/big", &[]).await.code(404), "NoSuchKey");

    let (first, second) = (first.header("etag"), second.header("etag"));
    let wrong = fixture.complete("big", &upload, &[(1, replaced.header("etag")), (2, second)]).await;
    assert_eq!(wrong.code(400), "InvalidPart");
    assert_eq!(fixture.complete("big", &upload, &[(2, second), (1, first)]).await.code(400), "InvalidPartOrder");
    assert_eq!(fixture.complete("big", &upload, &[(1, first), (3, second)]).await.code(400), "InvalidPart");

    let done = fixture.complete("big", &upload, &[(1, first), (2, second)]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let whole: Vec<u8> = one.iter().chain(&two).copied().collect();
    let etag = [Md5::digest(&one), Md5::digest(&two)].concat();
    let etag = format!("\"{}-2\"", hex::encode(Md5::digest(etag)));
    let got = fixture.get("/bundles/big", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!((got.header("etag"), got.header("content-type")), (etag.as_str(), "application/zip"));
    assert_eq!((got.header("x-amz-meta-a"), got.body.as_ref() == whole), ("b", true));
    assert_eq!(got.header("x-amz-checksum-sha256"), STANDARD.encode(Sha256::digest(&whole)));
    assert_eq!(fixture.files().len(), 1, "the parts are gone");

    let again = fixture.complete("big", &upload, &[(1, first), (2, second)]).await;
    assert_eq!((again.status, again.elements("ETag")), (StatusCode::OK, done.elements("ETag")), "the answer was lost");
    assert_eq!(fixture.part("big", &upload, 3, vec![1]).await.code(404), "NoSuchUpload");
}

#[tokio::test]
async fn small_parts_are_refused_and_aborted_uploads_leave_nothing() {
    let fixture = Fixture::new().await;
    let upload = fixture.begin("k", &[]).await;
    let one = fixture.part("k", &upload, 1, vec![1; 10]).await;
    let two = fixture.part("k", &upload, 2, vec![2; 10]).await;
    let both = [(1, one.header("etag")), (2, two.header("etag"))];
    assert_eq!(fixture.complete("k", &upload, &both).await.code(400), "EntityTooSmall");
    assert_eq!(fixture.complete("k", &upload, &[]).await.code(400), "MalformedXML");
    assert_eq!(fixture.complete("other", &upload, &both).await.code(404), "NoSuchUpload");
    assert_eq!(fixture.part("k", &upload, 0, vec![1]).await.code(400), "InvalidArgument");
    let aborted = fixture.send(("DELETE", &format!("/bundles/k?uploadId={upload}")), &[], "").await;
    assert_eq!(aborted.status, StatusCode::NO_CONTENT);
    assert!(fixture.files().is_empty());
    assert_eq!(fixture.complete("k", &upload, &both).await.code(404), "NoSuchUpload");
}

#[tokio::test]
async fn checksums_go_over_the_parts_or_the_whole() {
    let fixture = Fixture::new().await;
    let (one, two) = (vec![1; PART], vec![2; 100]);

    let upload = fixture.begin("parts", &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let first = fixture.part("parts", &upload, 1, one.clone()).await;
    assert_eq!(first.header("x-amz-checksum-sha256"), STANDARD.encode(Sha256::digest(&one)));
    let second = fixture.part("parts", &upload, 2, two.clone()).await;
    let done = fixture.complete("parts", &upload, &[(1, first.header("etag")), (2, second.header("etag"))]).await;
    let composite = Sha256::digest([Sha256::digest(&one), Sha256::digest(&two)].concat());
    assert_eq!(done.elements("ChecksumSHA256"), [format!("{}-2", STANDARD.encode(composite))], "{}", done.text());
    assert_eq!(done.elements("ChecksumType"), ["COMPOSITE"]);

    let upload = fixture.begin("whole", &[("x-amz-checksum-algorithm", "CRC64NVME")]).await;
    let first = fixture.part("whole", &upload, 1, b"123456789".to_vec()).await;
    let done = fixture.complete("whole", &upload, &[(1, first.header("etag"))]).await;
    let crc = STANDARD.encode(hex::decode("ae8b14860a799888").unwrap());
    assert_eq!(done.elements("ChecksumCRC64NVME")[..], *std::slice::from_ref(&crc));
    let got = fixture.get("/bundles/whole", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!(got.header("x-amz-checksum-crc64nvme"), crc);

    let upload = fixture.begin("other", &[("x-amz-checksum-algorithm", "CRC32")]).await;
    let path = format!("/bundles/other?partNumber=1&uploadId={upload}");
    let sha1 = [("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=")];
    assert_eq!(fixture.send(("PUT", &path), &sha1, "hello").await.code(400), "InvalidRequest");
}

#[tokio::test]
async fn uploads_that_nobody_completes_end_after_a_week() {
    let mut fixture = Fixture::new().await;
    let (old, new) = (fixture.begin("old", &[]).await, fixture.begin("new", &[]).await);
    fixture.part("old", &old, 1, vec![1]).await;
    fixture.part("new", &new, 1, vec![1]).await;
    sqlx::query("UPDATE uploads SET created_at = created_at - ? WHERE id = ?")
        .bind(8 * 24 * 60 * 60 * 1000_i64)
        .bind(&old)
        .execute(&fixture.pool)
        .await
        .unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.files().len(), 1);
    assert_eq!(fixture.get("/bundles?uploads", &[]).await.elements("UploadId"), [new]);
}

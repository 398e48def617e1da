use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use futures_util::stream;
use md5::Md5;
use s3s::dto::StreamingBlob;
use sha2::{Digest, Sha256};

use super::*;

#[tokio::test]
async fn every_put_is_a_version_with_its_digests() {
    let fixture = Fixture::new().await;
    let headers = [("content-type", "text/x"), ("x-amz-meta-release", "v1"), ("cache-control", "no-store")];
    let first = fixture.send(("PUT", "/bundles/a/b"), &headers, "one").await;
    assert_eq!(first.header("etag"), format!("\"{}\"", hex::encode(Md5::digest("one"))));
    let second = fixture.put("a/b", "second").await;
    assert_ne!(first.header("x-amz-version-id"), second.header("x-amz-version-id"));

    let latest = fixture.get("/bundles/a/b", &[]).await;
    assert_eq!((latest.text().as_str(), latest.header("content-length")), ("second", "6"));
    assert_eq!(latest.header("x-amz-version-id"), second.header("x-amz-version-id"));
    assert_eq!(latest.header("x-amz-checksum-sha256"), "", "only where it is asked for");

    let old = format!("/bundles/a/b?versionId={}", first.header("x-amz-version-id"));
    let old = fixture.get(&old, &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!(old.text(), "one");
    assert_eq!(old.header("content-type"), "text/x");
    assert_eq!(old.header("x-amz-meta-release"), "v1");
    assert_eq!(old.header("cache-control"), "no-store");
    assert_eq!(old.header("x-amz-checksum-sha256"), STANDARD.encode(Sha256::digest("one")));
    assert_eq!(old.header("x-amz-checksum-type"), "FULL_OBJECT");

    let (size, sha256): (i64, String) =
        sqlx::query_as("SELECT size, sha256 FROM objects WHERE bucket = 'bundles' AND key = 'a/b' AND is_latest = 1")
            .fetch_one(&fixture.pool)
            .await
            .unwrap();
    assert_eq!((size, sha256), (6, hex::encode(Sha256::digest("second"))));

    let head = fixture.send(("HEAD", "/bundles/a/b"), &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "6", 0));
    assert_eq!(fixture.get("/bundles/none", &[]).await.code(404), "NoSuchKey");
    assert_eq!(fixture.get("/nobucket/none", &[]).await.code(404), "NoSuchBucket");
    assert_eq!(fixture.get("/bundles/a/b?versionId=x", &[]).await.code(404), "NoSuchVersion");
}

#[tokio::test]
async fn keys_with_odd_characters_and_empty_contents_survive() {
    let fixture = Fixture::new().await;
    for (path, key) in [("%C3%A4%20b%2Bc%26d", "ä b+c&d"), ("a//b/../c", "a//b/../c"), ("%25", "%")] {
        fixture.put(path, key).await;
        assert_eq!(fixture.get(&format!("/bundles/{path}"), &[]).await.text(), key);
        let listed = fixture.get(&format!("/bundles?list-type=2&prefix={path}&encoding-type=url"), &[]).await;
        let decoded: Vec<String> = listed.elements("Key").iter().map(|key| percent_decoded(key)).collect();
        assert_eq!(decoded, [key]);
    }
    fixture.put("empty", "").await;
    let empty = fixture.get("/bundles/empty", &[]).await;
    assert_eq!((empty.status, empty.header("content-length")), (StatusCode::OK, "0"));
    assert_eq!(fixture.get("/bundles/empty", &[("range", "bytes=0-")]).await.code(416), "InvalidRange");
    assert_eq!(fixture.send(("PUT", "/bundles/a%01b"), &[], "x").await.code(400), "InvalidArgument");
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("k={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_http() {
    let fixture = Fixture::new().await;
    let put = fixture.put("k", "0123456789").await;
    let etag = put.header("etag").to_owned();
    let get = async |headers: &[(&str, &str)]| fixture.get("/bundles/k", headers).await;

    for (range, text, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ] {
        let part = get(&[("range", range), ("x-amz-checksum-mode", "ENABLED")]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!((part.text().as_str(), part.header("content-range")), (text, content_range));
        assert_eq!(part.header("content-length"), text.len().to_string());
        assert_eq!(part.header("x-amz-checksum-sha256"), "", "the whole's checksum is not the part's");
    }
    let beyond = get(&[("range", "bytes=10-")]).await;
    assert_eq!(beyond.header("content-range"), "bytes */10");
    assert_eq!(beyond.code(416), "InvalidRange");

    assert_eq!(get(&[("range", "bytes=1-1"), ("if-range", &etag)]).await.text(), "1");
    assert_eq!(get(&[("range", "bytes=1-1"), ("if-range", "\"other\"")]).await.text(), "0123456789");
    let modified = get(&[]).await.header("last-modified").to_owned();
    assert_eq!(get(&[("range", "bytes=1-1"), ("if-range", &modified)]).await.text(), "1");

    assert_eq!(get(&[("if-match", &etag)]).await.status, StatusCode::OK);
    assert_eq!(get(&[("if-match", "\"other\"")]).await.code(412), "PreconditionFailed");
    let unmodified = get(&[("if-none-match", &etag)]).await;
    assert_eq!((unmodified.status, unmodified.header("etag")), (StatusCode::NOT_MODIFIED, etag.as_str()));
    assert_eq!(get(&[("if-none-match", "\"other\"")]).await.status, StatusCode::OK);
    assert_eq!(get(&[("if-modified-since", &modified)]).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(get(&[("if-unmodified-since", &modified)]).await.status, StatusCode::OK);
    let past = "Thu, 01 Jan 2015 00:00:00 GMT";
    assert_eq!(get(&[("if-modified-since", past)]).await.status, StatusCode::OK);
    assert_eq!(get(&[("if-unmodified-since", past)]).await.code(412), "PreconditionFailed");
}

#[tokio::test]
async fn a_content_that_is_not_what_its_client_says_is_not_stored() {
    let fixture = Fixture::new().await;
    // Over "hello"; the fixed values are from other implementations.
    let good = [
        ("content-md5", STANDARD.encode(Md5::digest("hello"))),
        ("x-amz-checksum-crc32", "NhCmhg==".to_owned()),
        ("x-amz-checksum-crc32c", "mnG7TA==".to_owned()),
        ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=".to_owned()),
        ("x-amz-checksum-sha256", STANDARD.encode(Sha256::digest("hello"))),
    ];
    for (header, value) in &good {
        let put = fixture.send(("PUT", "/bundles/good"), &[(header, value)], "hello").await;
        assert_eq!(put.status, StatusCode::OK, "{header}: {}", put.text());
        if header.starts_with("x-amz") {
            assert_eq!(put.header(header), value);
            let got = fixture.get("/bundles/good", &[("x-amz-checksum-mode", "ENABLED")]).await;
            assert_eq!(got.header(header), value);
        }
        let refused = fixture.send(("PUT", "/bundles/bad"), &[(header, value)], "hellO").await;
        assert_eq!(refused.code(400), "BadDigest", "{header}");
    }
    assert_eq!(fixture.get("/bundles/bad", &[]).await.code(404), "NoSuchKey");
    assert_eq!(fixture.files().len(), good.len(), "refused contents leave nothing");
    let two = [("x-amz-checksum-crc32", "NhCmhg=="), ("x-amz-checksum-crc32c", "mnG7TA==")];
    assert_eq!(fixture.send(("PUT", "/bundles/bad"), &two, "hello").await.code(400), "InvalidRequest");

    // The payload's digest is under the signature.
    let mut changed = signed(&fixture.administrator, ("PUT", "/bundles/bad"), &[], SignableBody::Bytes(b"hello"));
    changed.headers_mut().insert("content-length", 5.into());
    *changed.body_mut() = Body::from("hellO".to_owned());
    let refused = fixture.call(changed).await;
    assert!(refused.status.is_client_error(), "{} {}", refused.status, refused.text());
    assert_eq!(fixture.get("/bundles/bad", &[]).await.code(404), "NoSuchKey");
}

#[tokio::test]
async fn checksums_in_trailers_are_verified() {
    let fixture = Fixture::new().await;
    let put = async |key: &str, checksum: &str| {
        let body = format!("5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "11"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ];
        let kind = SignableBody::Precomputed("STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned());
        let mut request = signed(&fixture.administrator, ("PUT", &format!("/bundles/{key}")), &headers, kind);
        request.headers_mut().insert("content-length", body.len().into());
        *request.body_mut() = Body::from(body);
        fixture.call(request).await
    };
    let good = put("good", "DUoRhQ==").await;
    assert_eq!((good.status, good.header("x-amz-checksum-crc32")), (StatusCode::OK, "DUoRhQ=="));
    let got = fixture.get("/bundles/good", &[]).await;
    assert_eq!((got.text().as_str(), got.header("content-encoding")), ("hello world", ""));
    assert_eq!(put("bad", "AAAAAA==").await.code(400), "BadDigest");
    assert_eq!(fixture.get("/bundles/bad", &[]).await.code(404), "NoSuchKey");
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_nothing() {
    let fixture = Fixture::new().await;
    let pieces = vec![Ok(Bytes::from_static(b"begun")), Err(std::io::Error::other("the connection broke"))];
    let kind = SignableBody::UnsignedPayload;
    let mut request = signed(&fixture.administrator, ("PUT", "/bundles/k"), &[], kind);
    request.headers_mut().insert("content-length", 100.into());
    *request.body_mut() = Body::from(StreamingBlob::wrap(stream::iter(pieces)));
    assert_eq!(fixture.call(request).await.code(400), "IncompleteBody");
    assert_eq!(fixture.get("/bundles/k", &[]).await.code(404), "NoSuchKey");
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
}

#[tokio::test]
async fn a_start_removes_what_nothing_refers_to_and_nothing_else() {
    let mut fixture = Fixture::new().await;
    fixture.put("kept", "content").await;
    let kept = fixture.files();
    let objects = fixture.directory.path().join("objects");
    std::fs::write(objects.join("incoming/half"), "half").unwrap();
    std::fs::create_dir_all(objects.join("00")).unwrap();
    std::fs::write(objects.join("00").join("00000000000000000000000000000000"), "lost").unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.files(), kept);
    assert_eq!(fixture.get("/bundles/kept", &[]).await.text(), "content");
}

#[tokio::test]
async fn deletes_mark_and_versions_go_for_good() {
    let fixture = Fixture::new().await;
    let first = fixture.put("k", "one").await.header("x-amz-version-id").to_owned();
    fixture.put("k", "two").await;
    let marked = fixture.send(("DELETE", "/bundles/k"), &[], "").await;
    assert_eq!((marked.status, marked.header("x-amz-delete-marker")), (StatusCode::NO_CONTENT, "true"));
    let gone = fixture.get("/bundles/k", &[]).await;
    assert_eq!((gone.header("x-amz-delete-marker"), gone.code(404).as_str()), ("true", "NoSuchKey"));
    let marker = format!("/bundles/k?versionId={}", marked.header("x-amz-version-id"));
    assert_eq!(fixture.get(&marker, &[]).await.code(405), "MethodNotAllowed");
    assert!(fixture.get("/bundles?list-type=2", &[]).await.elements("Key").is_empty());

    fixture.send(("DELETE", &marker), &[], "").await;
    assert_eq!(fixture.get("/bundles/k", &[]).await.text(), "two");
    let two = fixture.get("/bundles/k", &[]).await.header("x-amz-version-id").to_owned();
    fixture.send(("DELETE", &format!("/bundles/k?versionId={two}")), &[], "").await;
    assert_eq!(fixture.get("/bundles/k", &[]).await.text(), "one", "the one before is the latest again");
    assert_eq!(fixture.files().len(), 1);
    assert_eq!(fixture.send(("DELETE", "/bundles"), &[], "").await.code(409), "BucketNotEmpty");

    let body = format!("<Delete><Object><Key>k</Key><VersionId>{first}</VersionId></Object></Delete>");
    let deleted = fixture.send(("POST", "/bundles?delete"), &[], body).await;
    assert_eq!((deleted.status, deleted.elements("VersionId")), (StatusCode::OK, vec![first]));
    assert!(fixture.files().is_empty());
    assert_eq!(fixture.send(("DELETE", "/bundles"), &[], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(fixture.send(("PUT", "/bundles/k"), &[], "x").await.code(404), "NoSuchBucket");
}

#[tokio::test]
async fn copies_share_nothing_with_their_source() {
    let fixture = Fixture::new().await;
    let put = fixture.send(("PUT", "/bundles/from"), &[("x-amz-meta-a", "b")], "content").await;
    let copied = fixture.send(("PUT", "/bundles/to"), &[("x-amz-copy-source", "/bundles/from")], "").await;
    assert_eq!(copied.status, StatusCode::OK, "{}", copied.text());
    let from = format!("/bundles/from?versionId={}", put.header("x-amz-version-id"));
    fixture.send(("DELETE", &from), &[], "").await;
    let got = fixture.get("/bundles/to", &[]).await;
    assert_eq!((got.text().as_str(), got.header("x-amz-meta-a")), ("content", "b"));
    assert_eq!(got.header("etag"), put.header("etag"));
}

#[tokio::test]
async fn puts_at_the_same_time_leave_one_latest() {
    let fixture = Fixture::new().await;
    let puts = join_all((0..16).map(|number| {
        let fixture = &fixture;
        async move { fixture.put("k", &number.to_string()).await }
    }));
    puts.await;
    let latest: i64 = sqlx::query_scalar("SELECT count(*) FROM objects WHERE key = 'k' AND is_latest = 1")
        .fetch_one(&fixture.pool)
        .await
        .unwrap();
    assert_eq!((latest, fixture.files().len()), (1, 16));

    let only_new = join_all((0..8).map(|_| {
        let fixture = &fixture;
        async move { fixture.send(("PUT", "/bundles/new"), &[("if-none-match", "*")], "x").await.status.as_u16() }
    }));
    let mut statuses = only_new.await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    assert_eq!(fixture.files().len(), 17, "refused contents leave nothing");
    assert_eq!(
        fixture.send(("PUT", "/bundles/new"), &[("if-match", "\"x\"")], "y").await.code(412),
        "PreconditionFailed"
    );
}

#[tokio::test]
async fn hosts_and_strangers_are_kept_out() {
    let fixture = Fixture::new().await;
    fixture.put("k", "secret").await;
    let requests = [
        ("GET", "/bundles/k"),
        ("HEAD", "/bundles/k"),
        ("PUT", "/bundles/k"),
        ("DELETE", "/bundles/k"),
        ("GET", "/bundles"),
        ("GET", "/"),
        ("PUT", "/another"),
        ("POST", "/bundles/k?uploads"),
    ];
    for target in requests {
        let answered = fixture.send_as(&fixture.host, target, &[], Bytes::new()).await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN, "{target:?}");
        let request = Request::builder().method(target.0).uri(target.1).header("host", "127.0.0.1:8443");
        let unsigned = fixture.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(unsigned.status, StatusCode::FORBIDDEN, "{target:?}");
    }
    keys::revoke(&fixture.pool, &fixture.administrator.id).await.unwrap();
    assert_eq!(fixture.get("/bundles/k", &[]).await.code(403), "InvalidAccessKeyId");
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    let fixture = Fixture::new().await;
    for header in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-website-redirect-location", "/x"),
    ] {
        assert_eq!(fixture.send(("PUT", "/bundles/k"), &[header], "x").await.code(501), "NotImplemented", "{header:?}");
    }
    let private = [("x-amz-acl", "private")];
    assert_eq!(fixture.send(("PUT", "/bundles/k"), &private, "x").await.status, StatusCode::OK);
    let large = "v".repeat(2100);
    let refused = fixture.send(("PUT", "/bundles/k"), &[("x-amz-meta-a", &large)], "x").await;
    assert_eq!(refused.code(400), "MetadataTooLarge");
    assert_eq!(fixture.get("/bundles/k?partNumber=1", &[]).await.code(501), "NotImplemented");
}

use super::*;

async fn filled() -> Fixture {
    let fixture = Fixture::new().await;
    for key in ["a", "b/1", "b/2", "b/c/3", "d", "e/1", "f"] {
        fixture.put(key, key).await;
    }
    fixture.put("d", "again").await;
    fixture.put("deleted", "x").await;
    fixture.send(("DELETE", "/bundles/deleted"), &[], "").await;
    fixture
}

#[tokio::test]
async fn listings_have_the_latest_of_what_is_there() {
    let fixture = filled().await;
    let keys = async |query: &str| fixture.get(&format!("/bundles?list-type=2&{query}"), &[]).await.elements("Key");
    assert_eq!(keys("").await, ["a", "b/1", "b/2", "b/c/3", "d", "e/1", "f"]);
    assert_eq!(keys("prefix=b%2F").await, ["b/1", "b/2", "b/c/3"]);
    assert_eq!(keys("prefix=b%2F&delimiter=%2F").await, ["b/1", "b/2"]);
    assert_eq!(keys("start-after=b%2F2").await, ["b/c/3", "d", "e/1", "f"]);
    assert!(keys("prefix=zz").await.is_empty());
    let top = fixture.get("/bundles?list-type=2&delimiter=%2F", &[]).await;
    assert_eq!(top.elements("Key"), ["a", "d", "f"]);
    assert_eq!(top.elements("Prefix")[1..], ["b/", "e/"], "after the request's own");
    assert_eq!(top.elements("KeyCount"), ["5"]);
    assert_eq!(fixture.get("/nobucket?list-type=2", &[]).await.code(404), "NoSuchBucket");
    let none = fixture.get("/bundles?list-type=2&max-keys=0", &[]).await;
    assert_eq!((none.elements("Key").len(), none.elements("IsTruncated")), (0, vec!["false".to_owned()]));
}

#[tokio::test]
async fn pages_of_any_size_give_every_entry_once() {
    let fixture = filled().await;
    for version in [1, 2] {
        for size in 1..=8 {
            let mut entries = Vec::new();
            let mut after = String::new();
            loop {
                let query = format!("/bundles?delimiter=%2F&max-keys={size}");
                let query = if version == 2 { format!("{query}&list-type=2") } else { query };
                let page = fixture.get(&(query + &after), &[]).await;
                entries.extend(page.elements("Key"));
                entries.extend(page.elements("Prefix").into_iter().filter(|prefix| !prefix.is_empty()));
                if page.elements("IsTruncated") != ["true"] {
                    break;
                }
                after = match version {
                    1 => format!("&marker={}", page.elements("NextMarker")[0].replace('/', "%2F")),
                    _ => format!("&continuation-token={}", page.elements("NextContinuationToken")[0]),
                };
                assert!(entries.len() <= 5, "{entries:?}");
            }
            entries.sort_unstable();
            assert_eq!(entries, ["a", "b/", "d", "e/", "f"], "list v{version}, {size} a page");
        }
    }
    assert_eq!(fixture.get("/bundles?list-type=2&continuation-token=zz", &[]).await.code(400), "InvalidArgument");
    assert_eq!(fixture.get("/bundles?list-type=2&max-keys=-1", &[]).await.code(400), "InvalidArgument");
}

#[tokio::test]
async fn versions_are_listed_newest_first() {
    let fixture = filled().await;
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = fixture.get(&format!("/bundles?versions&max-keys=3{after}"), &[]).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        seen.extend(page.elements("VersionId"));
        if page.elements("IsTruncated") != ["true"] {
            break;
        }
        let (key, version) = (page.elements("NextKeyMarker"), page.elements("NextVersionIdMarker"));
        after = format!("&key-marker={}&version-id-marker={}", key[0].replace('/', "%2F"), version[0]);
    }
    let all: Vec<String> = sqlx::query_scalar("SELECT version_id FROM objects ORDER BY key, id DESC")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    let (mut seen_sorted, mut all_sorted) = (seen.clone(), all.clone());
    seen_sorted.sort_unstable();
    all_sorted.sort_unstable();
    assert_eq!(seen_sorted, all_sorted, "each once");
    let one_page = fixture.get("/bundles?versions&prefix=d", &[]).await;
    let mut keys = one_page.elements("Key");
    keys.sort_unstable();
    assert_eq!(keys, ["d", "d", "deleted", "deleted"]);
    let ids: Vec<String> = sqlx::query_scalar("SELECT version_id FROM objects WHERE key = 'd' ORDER BY id DESC")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    let text = one_page.text();
    assert!(text.find(&ids[0]).unwrap() < text.find(&ids[1]).unwrap(), "the newer one first");
    assert_eq!(one_page.elements("DeleteMarker").len(), 1);
}

#[tokio::test]
async fn buckets_are_made_listed_and_found() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.send(("PUT", "/second-bucket"), &[], "").await.status, StatusCode::OK);
    assert_eq!(fixture.send(("PUT", "/second-bucket"), &[], "").await.code(409), "BucketAlreadyOwnedByYou");
    assert_eq!(fixture.get("/", &[]).await.elements("Name"), ["bundles", "second-bucket"]);
    assert_eq!(fixture.send(("HEAD", "/bundles"), &[], "").await.status, StatusCode::OK);
    assert_eq!(fixture.send(("HEAD", "/nobucket"), &[], "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(fixture.get("/bundles?versioning", &[]).await.elements("Status"), ["Enabled"]);
    assert!(matches!(create_bucket(&fixture.pool, "No").await, Err(CreateBucketError::Name(_))));
    assert!(!create_bucket(&fixture.pool, "bundles").await.unwrap());
}

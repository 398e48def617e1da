use super::*;

fn realm() -> Realm {
    Realm { region: "eu-west-1".into(), account: "123456789012".into() }
}

fn registration(name: &str, tags: &[(&str, &str)]) -> Registration {
    let name = ids::instance_name(Some(name.to_owned())).unwrap();
    let identity = Identity::user("123456789012", &name);
    let tags = tags.iter().map(|(key, value)| Tag { key: (*key).into(), value: (*value).into() }).collect();
    Registration { name, identity, tags }
}

#[tokio::test]
async fn registering_again_is_no_error_and_sets_the_tags() {
    let dir = tempfile::tempdir().unwrap();
    let pool = crate::db::open(dir.path()).await.unwrap();
    let first = register(&pool, &realm(), &registration("web-1", &[("a", "1")])).await.unwrap();
    let second = register(&pool, &realm(), &registration("web-1", &[("a", "2"), ("b", "3")])).await.unwrap();
    assert_eq!((first, second), (Registered::New, Registered::Already));
    let mut db = pool.acquire().await.unwrap();
    let all = all(&mut db).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].tags, Tags::from([("a".into(), "2".into()), ("b".into(), "3".into())]));
    assert!(all[0].arn.starts_with("arn:aws:codedeploy:eu-west-1:123456789012:instance/web-1_"));
    assert_eq!(by_name(&mut db, "web-1").await.unwrap().as_ref(), all.first());
}

#[tokio::test]
async fn names_and_identities_belong_to_one_instance() {
    let dir = tempfile::tempdir().unwrap();
    let pool = crate::db::open(dir.path()).await.unwrap();
    register(&pool, &realm(), &registration("web-1", &[])).await.unwrap();
    let mut other_identity = registration("web-1", &[]);
    other_identity.identity.arn.push('x');
    let error = register(&pool, &realm(), &other_identity).await.unwrap_err();
    assert!(matches!(error, RegisterError::NameTaken { .. }), "{error}");
    let mut other_name = registration("web-2", &[]);
    other_name.identity = registration("web-1", &[]).identity;
    let error = register(&pool, &realm(), &other_name).await.unwrap_err();
    assert!(matches!(error, RegisterError::IdentityTaken { .. }), "{error}");
}

#[tokio::test]
async fn a_deregistered_name_can_be_registered_anew() {
    let dir = tempfile::tempdir().unwrap();
    let pool = crate::db::open(dir.path()).await.unwrap();
    let wish = registration("web-1", &[("a", "1")]);
    register(&pool, &realm(), &wish).await.unwrap();
    let mut db = pool.acquire().await.unwrap();
    let before = by_name(&mut db, "web-1").await.unwrap().unwrap();
    deregister(&mut db, &wish.name).await.unwrap();
    assert!(by_name(&mut db, "web-1").await.unwrap().unwrap().deregistered.is_some());
    assert_eq!(by_identity(&mut db, &wish.identity.arn).await.unwrap(), None);
    drop(db);
    assert_eq!(register(&pool, &realm(), &registration("web-1", &[])).await.unwrap(), Registered::New);
    let mut db = pool.acquire().await.unwrap();
    let now = by_name(&mut db, "web-1").await.unwrap().unwrap();
    assert!(now.deregistered.is_none() && now.arn != before.arn && now.tags.is_empty());
}

#[tokio::test]
async fn too_many_tags_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let pool = crate::db::open(dir.path()).await.unwrap();
    let keys: Vec<String> = (0..=MOST_TAGS).map(|number| format!("k{number}")).collect();
    let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    let error = register(&pool, &realm(), &registration("web-1", &tags)).await.unwrap_err();
    assert!(matches!(error, RegisterError::TooManyTags(_)));
    assert_eq!(all(&mut pool.acquire().await.unwrap()).await.unwrap(), vec![]);
}

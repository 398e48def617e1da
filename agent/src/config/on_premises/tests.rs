use super::*;

const USER: &str = "---
:region: eu-central-1
:iam_user_arn: arn:aws:iam::111122223333:user/host-1
:aws_access_key_id: AKIAEXAMPLE
:aws_secret_access_key: 'very+secret/value'
";

fn messages(text: &str) -> String {
    let error = parse(text.as_bytes(), "o.yml").unwrap_err();
    assert!(!format!("{error:?}").contains("very"), "{error:?}");
    error.to_string()
}

#[test]
fn an_iam_user() {
    for text in [USER.to_owned(), USER.replace("\n:", "\n"), USER.replace('\n', "\r\n")] {
        let parsed = parse(text.as_bytes(), "o.yml").unwrap();
        assert_eq!(parsed.warnings, []);
        assert!(!format!("{parsed:?}").contains("very+secret"), "{parsed:?}");
        let OnPremises::IamUser { arn, region, access_key_id, secret } = parsed.identity else { panic!("a user") };
        assert_eq!(arn, "arn:aws:iam::111122223333:user/host-1");
        assert_eq!((region.as_str(), access_key_id.as_str()), ("eu-central-1", "AKIAEXAMPLE"));
        assert_eq!(secret.expose(), "very+secret/value");
    }
}

#[test]
fn an_iam_session() {
    let text = "region: eu-central-1\niam_session_arn: arn:aws:sts::111122223333:assumed-role/r/host\n\
                aws_credentials_file: /run/credentials\naws_access_key_id: AKIA\n";
    let parsed = parse(text.as_bytes(), "o.yml").unwrap();
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["4:1: `aws_access_key_id` is not used together with `iam_session_arn`"]);
    let OnPremises::IamSession { credentials_file, .. } = parsed.identity else { panic!("a session") };
    assert_eq!(credentials_file, PathBuf::from("/run/credentials"));
}

#[test]
fn both_or_neither_is_an_error() {
    assert_eq!(
        messages(&format!("{USER}iam_session_arn: arn:aws:sts::1:assumed-role/r/h\n")),
        "o.yml:6:18: expected either `iam_user_arn` or `iam_session_arn`, found both"
    );
    assert_eq!(
        messages("region: eu-west-1\n"),
        "o.yml:1:1: expected either `iam_user_arn` or `iam_session_arn`, found neither"
    );
}

#[test]
fn all_mistakes_at_once_and_no_secret_in_any() {
    assert_eq!(
        messages("region: EU\niam_user_arn: host-1\naws_access_key_id:\naws_secret_access_key: very secret\n"),
        "o.yml:1:9: expected `region` as a region such as eu-central-1, found another value (not shown)\n\
         o.yml:2:15: expected `iam_user_arn` as an ARN such as arn:aws:iam::111122223333:user/host-1, found another value (not shown)\n\
         o.yml:3:1: expected `aws_access_key_id`, found `aws_access_key_id` without a value\n\
         o.yml:4:24: expected `aws_secret_access_key` as a text without blanks, found another value (not shown)"
    );
    for text in [
        "aws_secret_access_key:very+secret",
        "- very+secret",
        "",
        "aws_secret_access_key: [very+secret]\nregion: eu-west-1\niam_user_arn: arn:aws:iam::1:user/x\naws_access_key_id: A",
        "aws_secret_access_key: \"very+secret",
        "aws_secret_access_key: very: secret",
    ] {
        let message = messages(text);
        assert!(message.starts_with("o.yml:") && !message.contains("very"), "{message}");
    }
}

#[test]
fn unknown_keys_are_told_without_their_text() {
    let parsed = parse(format!("{USER}very+secret: x\niam_user: y\n").as_bytes(), "o.yml").unwrap();
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["6:1: an unknown key is ignored", "7:1: an unknown key is ignored; did you mean `iam_user_arn`?"]
    );
}

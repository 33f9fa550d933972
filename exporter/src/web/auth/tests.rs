use std::net::IpAddr;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;

use super::*;

/// The least that bcrypt takes: a millisecond.
const COST: u32 = 4;

fn users(cost: u32) -> Users {
    let hash = |password: &str| bcrypt::hash(password, cost).expect("a hash");
    let users = vec![
        ("alice".to_owned(), hash("secret")),
        ("bob".to_owned(), hash("")),
    ];
    Users::new(users).expect("a thread").expect("two users")
}

fn basic(name: &[u8], password: &[u8]) -> HeaderValue {
    let text = STANDARD.encode([name, b":", password].concat());
    HeaderValue::try_from(format!("Basic {text}")).expect("a header")
}

async fn check(users: &Users, value: HeaderValue) -> Verdict {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    users
        .check(&headers, Peer::from(IpAddr::from([192, 0, 2, 1])))
        .await
}

#[tokio::test]
async fn only_the_right_password_is_allowed() {
    let users = users(COST);
    let wrong: [(&[u8], &[u8]); 8] = [
        (b"alice", b"wrong"),
        (b"alice", b""),
        (b"Alice", b"secret"),
        (b"bob", b"secret"),
        (b"nobody", b"secret"),
        (b"", b""),
        (b"\xff\xfe", b"\xff"),
        (b"alice", &[b'x'; 8000]),
    ];
    for (name, password) in wrong {
        let verdict = check(&users, basic(name, password)).await;
        assert_eq!(verdict, Verdict::Refused, "{name:?}");
    }
    // Twice: the second time it is remembered, and others still are wrong.
    for _ in 0..2 {
        assert_eq!(
            check(&users, basic(b"alice", b"secret")).await,
            Verdict::Allowed
        );
        assert_eq!(
            check(&users, basic(b"alice", b"secret2")).await,
            Verdict::Refused
        );
        assert_eq!(check(&users, basic(b"bob", b"")).await, Verdict::Allowed);
    }
    for value in [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic YWxpY2U=",
        "Bearer x",
        "Basic Og",
    ] {
        let verdict = check(&users, HeaderValue::from_static(value)).await;
        assert_eq!(verdict, Verdict::Refused, "{value:?}");
    }
    let headers = HeaderMap::new();
    let peer = Peer::from(IpAddr::from([192, 0, 2, 1]));
    assert_eq!(users.check(&headers, peer).await, Verdict::Refused);
    let lower = basic(b"alice", b"secret")
        .to_str()
        .expect("text")
        .replace("Basic", "bAsIc");
    let lower = HeaderValue::try_from(lower).expect("a header");
    assert_eq!(check(&users, lower).await, Verdict::Allowed);
}

/// Far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn unknown_users_cost_as_much_as_wrong_passwords_and_right_ones_cost_once() {
    let users = users(7);
    let deadline = Instant::now() + PATIENCE;
    let mut shortest = [Duration::MAX; 3];
    // The shortest times come near what an attempt costs, however busy the machine is.
    loop {
        let attempts = [
            basic(b"alice", b"wrong"),
            basic(b"nobody", b"wrong"),
            basic(b"alice", b"secret"),
        ];
        for (shortest, attempt) in shortest.iter_mut().zip(attempts) {
            let begin = Instant::now();
            check(&users, attempt).await;
            *shortest = begin.elapsed().min(*shortest);
        }
        let [wrong, unknown, right] = shortest;
        if unknown < wrong * 2 && wrong < unknown * 2 && right * 5 < wrong {
            return;
        }
        assert!(Instant::now() < deadline, "{shortest:?}");
    }
}

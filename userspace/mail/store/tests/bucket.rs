//! A store whose packs are in a bucket, spoken to over HTTP: what the client library makes of our options, and an endpoint of ours.
#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use muralla_database::{Engine, Location, migrate};
use muralla_mail_store::{
    Bodies, BodyOptions, PackError, PackLocation, PackOptions, S3Location, SCHEMA,
};

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

const MODIFIED: &str = "Mon, 01 Jun 2026 12:00:00 GMT";

/// As much of S3 as a store needs.
async fn s3(
    State(objects): State<Objects>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signed = headers.get("authorization").and_then(|value| value.to_str().ok());
    if !signed.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 Credential=GK31/")) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(key) = uri.path().strip_prefix("/mail") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let key = key.trim_start_matches('/').to_owned();
    let query = uri.query().unwrap_or_default();
    let mut objects = objects.lock().unwrap();
    let about = |length: usize| {
        [
            ("etag", "\"1\"".to_owned()),
            ("last-modified", MODIFIED.to_owned()),
            ("content-length", length.to_string()),
        ]
    };
    match (method.as_str(), key.as_str()) {
        ("PUT", _) => {
            objects.insert(key, body);
            [("etag", "\"1\"")].into_response()
        }
        ("GET", "") => {
            let prefix = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("prefix="))
                .unwrap_or_default()
                .replace("%2F", "/");
            let listed: String = objects
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, object)| {
                    format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-06-01T12:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                        object.len()
                    )
                })
                .collect();
            format!("<ListBucketResult><Name>mail</Name><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>").into_response()
        }
        ("GET", _) => {
            let Some(object) = objects.get(&key) else {
                return StatusCode::NOT_FOUND.into_response();
            };
            let range = headers.get("range").and_then(|range| range.to_str().ok());
            let Some((from, until)) = range
                .and_then(|range| range.strip_prefix("bytes="))
                .and_then(|range| range.split_once('-'))
            else {
                return (about(object.len()), object.clone()).into_response();
            };
            let from: usize = from.parse().unwrap();
            let end = until.parse::<usize>().map_or(object.len(), |until| until + 1);
            let end = end.min(object.len());
            if from >= end {
                return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            }
            let of = format!("bytes {from}-{}/{}", end - 1, object.len());
            let part = object.slice(from..end);
            (StatusCode::PARTIAL_CONTENT, about(part.len()), [("content-range", of)], part)
                .into_response()
        }
        ("HEAD", _) => match objects.get(&key) {
            Some(object) => about(object.len()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        ("POST", "") if query.starts_with("delete") => {
            let text = String::from_utf8_lossy(&body).into_owned();
            let mut deleted = String::new();
            for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
                objects.remove(key);
                deleted.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
            }
            format!("<DeleteResult>{deleted}</DeleteResult>").into_response()
        }
        ("DELETE", _) => {
            objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

async fn serve() -> (String, Objects) {
    let objects = Objects::default();
    let router = Router::new().fallback(s3).with_state(Arc::clone(&objects));
    let router = router.layer(axum::extract::DefaultBodyLimit::max(64 << 20));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (endpoint, objects)
}

fn location(endpoint: &str) -> S3Location {
    S3Location {
        endpoint: endpoint.to_owned(),
        region: "garage".into(),
        bucket: "mail".into(),
        prefix: "shard1".into(),
        access_key: "GK31".into(),
        secret_key: "hush".into(),
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| byte()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mail_lives_in_a_bucket() {
    const NOW: i64 = 4_000_000_000;
    let (endpoint, objects) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let database = Location::Sqlite(folder.path().join("mail.db"));
    let engine = Engine::new(&database, "muralla-mail-test").unwrap();
    migrate(&engine, &SCHEMA).await.unwrap();
    let packs = PackLocation::S3(location(&endpoint)).open(&PackOptions::default()).unwrap();
    let options = BodyOptions { grace: 0, stray: 0, train_after: (0, 0), ..BodyOptions::default() };
    let bodies = Bodies::new(engine.clone(), Arc::clone(&packs), options);
    let mut puts = Vec::new();
    for number in 0..60u32 {
        let bodies = bodies.clone();
        let attachment =
            if number % 20 == 0 { noise(200_000 + number as usize) } else { noise(50) };
        puts.push(tokio::spawn(async move {
            let mut raw = format!("Subject: number {number}\r\n\r\n").into_bytes();
            for line in data_encoding::BASE64.encode(&attachment).as_bytes().chunks(76) {
                raw.extend_from_slice(line);
                raw.extend_from_slice(b"\r\n");
            }
            let row = bodies.put(Bytes::from(raw.clone())).await.unwrap();
            let id = row.id();
            let mut work = bodies.engine().write().await.unwrap();
            bodies.insert(&mut work, &[(row, 1)]).await.unwrap();
            work.commit().await.unwrap();
            (id, raw)
        }));
    }
    let mut all = Vec::new();
    for put in puts {
        all.push(put.await.unwrap());
    }
    assert!(objects.lock().unwrap().keys().all(|key| key.starts_with("shard1/")));
    for (id, raw) in &all {
        assert!(bodies.get(*id).await.unwrap() == *raw);
        assert!(bodies.head(*id, 0).await.unwrap().starts_with(b"Subject"));
    }
    let report = bodies.check(|_| ()).await.unwrap();
    assert!(report.is_clean() && report.dead == 0, "{report:?}");
    // Most of it is removed, and its packs with it.
    let before = packs.list().await.unwrap().len();
    let mut work = engine.write().await.unwrap();
    let released: Vec<_> = all.iter().skip(1).map(|(id, _)| (*id, 1)).collect();
    bodies.release(&mut work, &released).await.unwrap();
    work.commit().await.unwrap();
    let done = bodies.maintain(NOW).await.unwrap();
    assert_eq!(done.bodies_removed, 59);
    assert!(done.packs_deleted > 0 && packs.list().await.unwrap().len() < before, "{done:?}");
    assert!(bodies.get(all[0].0).await.unwrap() == all[0].1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_bucket_says_is_told() {
    let (endpoint, _) = serve().await;
    let options =
        PackOptions { patience: std::time::Duration::from_secs(2), ..PackOptions::default() };
    let missing = PackLocation::S3(location(&endpoint)).open(&options).unwrap();
    assert!(matches!(missing.kept("nothing".into()).await, Err(PackError::Gone(_))));
    let forbidden = S3Location { access_key: "another".into(), ..location(&endpoint) };
    let forbidden = PackLocation::S3(forbidden).open(&options).unwrap();
    let error = forbidden.list().await.unwrap_err();
    assert!(error.may_pass() && !error.to_string().contains("hush"), "{error}");
    // Nobody listens there.
    let away = PackLocation::S3(location("http://127.0.0.1:9")).open(&options).unwrap();
    let error = away.list().await.unwrap_err();
    assert!(matches!(error, PackError::Bucket { .. }) && error.may_pass(), "{error}");
    for (what, location) in [
        ("endpoint", location("")),
        ("endpoint", location("s3.example.net")),
        ("endpoint", location("file:///var/mail")),
        ("bucket", S3Location { bucket: String::new(), ..location(&endpoint) }),
        ("key", S3Location { secret_key: String::new(), ..location(&endpoint) }),
    ] {
        let error = PackLocation::S3(location).open(&options).unwrap_err();
        assert!(error.to_string().contains(what) && !error.may_pass(), "{error}");
    }
}

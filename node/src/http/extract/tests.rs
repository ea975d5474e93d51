use super::*;
use axum::http::HeaderValue;
use futures::stream;
use std::io;

const LIMITS: ReadLimits = ReadLimits { bytes: 10, time: Duration::from_secs(30) };

async fn read(frames: Vec<&'static str>) -> Result<Bytes, BodyError> {
    let body = Body::from_stream(stream::iter(frames.into_iter().map(|f| Ok::<_, io::Error>(Bytes::from(f)))));
    read_body(&HeaderMap::new(), body, LIMITS).await
}

#[tokio::test]
async fn bodies_up_to_the_limit_are_read() {
    assert_eq!(read(vec![]).await, Ok(Bytes::new()));
    assert_eq!(read(vec!["0123456789"]).await, Ok(Bytes::from("0123456789")));
    assert_eq!(read(vec!["", "01234", "", "5678", "9"]).await, Ok(Bytes::from("0123456789")));
}

#[tokio::test]
async fn larger_bodies_are_refused_announced_or_not() {
    assert_eq!(read(vec!["01234", "567890"]).await, Err(BodyError::TooLarge { limit: 10 }));
    let endless = Body::from_stream(stream::iter(std::iter::repeat_with(|| Ok::<_, io::Error>(Bytes::from("x")))));
    assert_eq!(read_body(&HeaderMap::new(), endless, LIMITS).await, Err(BodyError::TooLarge { limit: 10 }));
    // The announced length alone decides: this body never yields a frame.
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("11"))]);
    let silent = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
    assert_eq!(read_body(&headers, silent, LIMITS).await, Err(BodyError::TooLarge { limit: 10 }));
}

#[tokio::test]
async fn slow_and_broken_bodies_are_refused() {
    let silent = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
    let limits = ReadLimits { time: Duration::from_millis(20), ..LIMITS };
    assert_eq!(read_body(&HeaderMap::new(), silent, limits).await, Err(BodyError::Timeout { after: limits.time }));
    let broken = Body::from_stream(stream::iter([Ok(Bytes::from("x")), Err(io::Error::other("reset"))]));
    assert_eq!(read_body(&HeaderMap::new(), broken, LIMITS).await, Err(BodyError::Incomplete));
}

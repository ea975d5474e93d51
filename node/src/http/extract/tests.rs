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

async fn params(method: &str, content_type: Option<&str>, body: &'static str) -> Result<String, ParamsError> {
    let mut request = Request::builder().method(method).uri("/query?query=url&time=4");
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    let params = Params::from_request(request.body(Body::from(body)).unwrap(), &()).await?;
    Ok(params.get("query").to_owned() + params.get("time"))
}

#[tokio::test]
async fn only_form_bodies_are_parameters() {
    let form = Some("application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(params("POST", form, "query=body").await, Ok("body4".to_owned()));
    assert_eq!(params("GET", form, "query=body").await, Ok("url4".to_owned()));
    assert_eq!(params("POST", Some("application/json"), "query=body").await, Ok("url4".to_owned()));
    assert_eq!(params("POST", None, "query=body").await, Ok("url4".to_owned()));
    let status = |error: ParamsError| error.into_response().status().as_u16();
    assert_eq!(params("POST", form, "query=%").await.map_err(status), Err(400));
    let large: &'static str = Box::leak("q".repeat(HTTP_FORM_BYTES_MAX + 1).into_boxed_str());
    assert_eq!(params("POST", form, large).await.map_err(status), Err(413));
}

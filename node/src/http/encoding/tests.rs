use super::*;
use flate2::read::{GzDecoder, ZlibDecoder};
use std::io::Read;

fn headers(accept: &str) -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())])
}

#[test]
fn the_first_known_token_is_chosen() {
    let cases = [
        ("gzip", Some(ContentEncoding::Gzip)),
        ("deflate, gzip", Some(ContentEncoding::Deflate)),
        ("br, zstd , gzip;q=0.1, deflate;q=1.0", Some(ContentEncoding::Gzip)),
        ("gzip;q=0, deflate", Some(ContentEncoding::Deflate)),
        ("gzip; q=0.000", None),
        ("identity", None),
        ("*", None),
        ("", None),
    ];
    for (accept, expected) in cases {
        assert_eq!(ContentEncoding::choose(&headers(accept)), expected, "{accept}");
    }
    assert_eq!(ContentEncoding::choose(&HeaderMap::new()), None);
}

async fn body_of(response: Response<Body>) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

#[tokio::test]
async fn large_answers_come_back_whole_from_both_encodings() {
    let text = (0..300_000u32).map(|i| format!("[{i},\"{}\"],", i * 7)).collect::<String>().into_bytes();
    for accept in ["gzip", "deflate"] {
        let response = compress(&headers(accept), Response::new(Body::from(text.clone())));
        assert_eq!(
            (&response.headers()[CONTENT_ENCODING], &response.headers()[VARY]),
            (&headers(accept)[ACCEPT_ENCODING], &HeaderValue::from_static("Accept-Encoding"))
        );
        let compressed = body_of(response).await;
        assert!(compressed.len() < text.len() / 2);
        let mut plain = Vec::new();
        match accept {
            "gzip" => GzDecoder::new(&compressed[..]).read_to_end(&mut plain).unwrap(),
            _ => ZlibDecoder::new(&compressed[..]).read_to_end(&mut plain).unwrap(),
        };
        assert!(plain == text, "{accept} lost bytes");
    }
}

#[tokio::test]
async fn small_empty_and_encoded_answers_stay_as_they_are() {
    let small = compress(&headers("gzip"), Response::new(Body::from("{}")));
    assert!(!small.headers().contains_key(CONTENT_ENCODING) && small.headers().contains_key(VARY));
    assert_eq!(body_of(small).await, b"{}");

    let mut encoded = Response::new(Body::from(vec![7u8; 5000]));
    encoded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    let encoded = compress(&headers("gzip"), encoded);
    assert_eq!(encoded.headers()[CONTENT_ENCODING], "snappy");
    assert_eq!(body_of(encoded).await.len(), 5000);

    let mut events = Response::new(Body::from(vec![7u8; 5000]));
    events.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    assert!(!compress(&headers("gzip"), events).headers().contains_key(CONTENT_ENCODING));

    let plain = compress(&headers("identity"), Response::new(Body::from(vec![7u8; 5000])));
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
}

#[tokio::test]
async fn an_error_in_the_middle_cuts_the_answer_off() {
    let frames = [Ok(Bytes::from(vec![1u8; 5000])), Err(io::Error::other("gone"))];
    let response = compress(&headers("gzip"), Response::new(Body::from_stream(stream::iter(frames))));
    assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
}

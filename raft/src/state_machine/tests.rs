use super::ApplyPool;

#[tokio::test]
async fn jobs_run_beside_each_other_and_a_panic_is_an_error() {
    let pool = ApplyPool::start(2).unwrap();
    let (left, right) = (std::sync::Arc::new(std::sync::Barrier::new(2)), ());
    let other = std::sync::Arc::clone(&left);
    let pair = tokio::join!(pool.run(move || left.wait()), pool.run(move || other.wait()));
    assert!(pair.0.is_ok() && pair.1.is_ok());
    assert_eq!(right, ());
    let broken: std::io::Result<()> = pool.run(|| panic!("as asked")).await;
    assert_eq!(broken.unwrap_err().to_string(), "apply panicked");
}

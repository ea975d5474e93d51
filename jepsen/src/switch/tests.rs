use super::*;

#[test]
fn addresses_and_destinations_agree_and_foreign_packets_have_none() {
    for index in 0..=5 {
        let mut packet = vec![0u8; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&address(index, 5).octets());
        assert_eq!(destination(&packet, 5), Some(index));
    }
    let mut foreign = vec![0u8; 40];
    foreign[0] = 0x45;
    foreign[16..20].copy_from_slice(&[10, 99, 0, 200]);
    assert_eq!(destination(&foreign, 5), None);
    foreign[0] = 0x60;
    assert_eq!(destination(&foreign, 5), None);
    assert_eq!(destination(&[0x45; 12], 5), None);
}

#[test]
fn a_slow_link_queues_and_then_drops() {
    let now = Instant::now();
    let mut free_at = now;
    assert_eq!(queued(0, 9000, &mut free_at, now), Some(0));
    // 125,000 bytes a second: 12,500 bytes take a tenth.
    assert_eq!(queued(1_000_000, 12_500, &mut free_at, now), Some(100_000));
    assert_eq!(queued(1_000_000, 12_500, &mut free_at, now), Some(200_000));
    let accepted = (0..20).filter(|_| queued(1_000_000, 12_500, &mut free_at, now).is_some()).count();
    assert_eq!(accepted, 4);
    assert_eq!(queued(1_000_000, 12_500, &mut free_at, now + Duration::from_secs(1)), Some(100_000));
}

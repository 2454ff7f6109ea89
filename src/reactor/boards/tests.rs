use super::*;

const RULES: Rules = Rules { lifetime: Some(Duration::from_secs(300)), max_boards: 2, max_members: 3 };

fn member(key: u32) -> ConnId {
    ConnId { key, serial: 1 }
}

fn delivered(boards: &mut Boards, stats: &mut Stats) -> Vec<(u32, Vec<u8>)> {
    let mut all = Vec::new();
    boards.begin_round();
    boards.deliver(stats, || Moment(0), |member, bytes, _, _| all.push((member.key, bytes.to_vec())));
    all.sort();
    all
}

#[test]
fn everybody_hears_the_others_in_one_delivery_and_nobody_himself() {
    let (mut boards, mut stats) = (Boards::new(RULES), Stats::default());
    let board = boards.join("a", member(1), Framing::Hybi, Moment(0)).expect("room");
    boards.join("a", member(2), Framing::Hybi, Moment(0)).expect("room");
    boards.join("a", member(3), Framing::Hixie, Moment(0)).expect("room");
    boards.join("b", member(4), Framing::Hybi, Moment(0)).expect("room");
    boards.publish(board, member(1), b"\x81\x01x\x82\x01y", 1, &mut stats.memory);
    boards.publish(board, member(2), b"\x81\x01z", 1, &mut stats.memory);
    boards.publish(board, member(1), b"\x81\x01w", 1, &mut stats.memory);
    let expected = [
        (1, b"\x81\x01z".to_vec()),
        (2, b"\x81\x01x\x82\x01y\x81\x01w".to_vec()),
        (3, b"\0x\xff\0z\xff\0w\xff".to_vec()),
    ];
    assert_eq!(delivered(&mut boards, &mut stats), expected);
    assert_eq!(delivered(&mut boards, &mut stats), []);
    assert_eq!(boards.undelivered, 0);
}

#[test]
fn limits_hold_and_an_empty_board_is_gone() {
    let (mut boards, mut stats) = (Boards::new(RULES), Stats::default());
    let board = boards.join("a", member(1), Framing::Hybi, Moment(0)).expect("room");
    boards.join("b", member(2), Framing::Hybi, Moment(0)).expect("room");
    assert_eq!(boards.join("c", member(3), Framing::Hybi, Moment(0)), Err(Full));
    boards.publish(board, member(1), b"\x81\x00", 1, &mut stats.memory);
    boards.leave(board, member(1), &mut stats.memory);
    assert_eq!(boards.undelivered, 0);
    for key in 3..6 {
        boards.join("c", member(key), Framing::Hybi, Moment(0)).expect("room on the new board");
    }
    assert_eq!(boards.join("c", member(6), Framing::Hybi, Moment(0)), Err(Full));
    // The slot has a new board; the old name of it reaches nobody.
    boards.publish(board, member(1), b"\x81\x00", 1, &mut stats.memory);
    boards.leave(board, member(3), &mut stats.memory);
    assert_eq!(delivered(&mut boards, &mut stats), []);
}

#[test]
fn what_alone_makes_memory_short_is_delivered() {
    let (mut boards, mut stats) = (Boards::new(RULES), Stats::default());
    stats.memory = Memory::new(1000);
    let board = boards.join("a", member(1), Framing::Hybi, Moment(0)).expect("room");
    boards.join("a", member(2), Framing::Hybi, Moment(0)).expect("room");
    boards.publish(board, member(1), &[7; 2000], 1, &mut stats.memory);
    assert!(stats.memory.is_short());
    assert_eq!(delivered(&mut boards, &mut stats), [(2, vec![7; 2000])]);
    assert!(!boards.is_busy() && stats.memory.used() == boards.allocated());
}

#[test]
fn while_memory_is_short_the_rest_of_the_members_wait_and_nobody_hears_anything_twice() {
    let rules = Rules { max_members: 9, ..RULES };
    let (mut boards, mut stats) = (Boards::new(rules), Stats::default());
    stats.memory = Memory::new(1000);
    let mut board = None;
    for key in 1..=7 {
        board = boards.join("a", member(key), Framing::Hybi, Moment(0)).ok();
    }
    let board = board.expect("room");
    boards.publish(board, member(7), b"\x81\x01x", 1, &mut stats.memory);
    let (mut kept, mut heard) = (0, Vec::new());
    boards.deliver(
        &mut stats,
        || Moment(0),
        |member, bytes, _, stats| {
            heard.push((member.key, bytes.to_vec()));
            if heard.len() == 3 {
                stats.memory.recount(&mut kept, 1000);
            }
        },
    );
    assert!(heard.len() == 3 && boards.is_busy());
    // Meanwhile more is said, one who has heard leaves, one who has not, and one comes.
    boards.publish(board, member(7), b"\x81\x01y", 1, &mut stats.memory);
    boards.leave(board, member(1), &mut stats.memory);
    boards.leave(board, member(6), &mut stats.memory);
    boards.join("a", member(8), Framing::Hybi, Moment(0)).expect("room");
    stats.memory.recount(&mut kept, 0);
    let rest = delivered(&mut boards, &mut stats);
    heard.extend(rest);
    for key in [2, 3, 4, 5, 8] {
        let words: Vec<u8> =
            heard.iter().filter(|(each, _)| *each == key).flat_map(|(_, said)| said.clone()).collect();
        assert_eq!(words, b"\x81\x01x\x81\x01y", "{key}");
    }
    assert_eq!(
        (boards.undelivered, boards.allocated(), stats.memory.used(), boards.is_busy()),
        (0, 0, 0, false)
    );
}

#[test]
fn what_a_round_has_no_time_for_goes_on_in_the_next_and_holds_who_would_say_more() {
    let rules = Rules { max_members: 1000, ..RULES };
    let (mut boards, mut stats) = (Boards::new(rules), Stats::default());
    let join = |boards: &mut Boards, name, key| {
        boards.join(name, member(key), Framing::Hybi, Moment(0)).expect("room")
    };
    let large = (0..1000).map(|key| join(&mut boards, "large", key)).last().expect("room");
    let small = (1000..1003).map(|key| join(&mut boards, "small", key)).last().expect("room");
    let now = std::cell::Cell::new(0);
    let mut heard = vec![Vec::new(); 1003];
    let mut rounds = 0;
    boards.publish(large, member(0), b"\x81\x01x", 1, &mut stats.memory);
    assert!(!boards.holds(large), "others may still say something in this round");
    while boards.is_busy() {
        boards.begin_round();
        rounds += 1;
        // Of the small board, each round says something, and it is heard in that round.
        boards.publish(small, member(1000), &[0x81, 1, rounds], 1, &mut stats.memory);
        let clock = || Moment(now.get());
        boards.deliver(&mut stats, clock, |member, bytes, _, _| {
            now.set(now.get() + 20);
            heard[member.key as usize].extend_from_slice(bytes);
        });
        assert_eq!(boards.holds(large), boards.is_busy());
        assert!(!boards.holds(small) && heard[1002].ends_with(&[rounds]), "round {rounds}");
    }
    assert!((3..=5).contains(&rounds), "20 ms, of which each round has four and a piece: {rounds} rounds");
    assert!((1..1000).all(|key| heard[key] == b"\x81\x01x") && heard[0].is_empty());
    assert_eq!(heard[1001], heard[1002]);
    boards.begin_round();
    assert!(!boards.holds(large) && !boards.is_busy());
}

#[test]
fn a_board_ends_after_its_lifetime_with_everybody_on_it() {
    let (mut boards, mut stats) = (Boards::new(RULES), Stats::default());
    let early = boards.join("a", member(1), Framing::Hybi, Moment(0)).expect("room");
    boards.leave(early, member(1), &mut stats.memory);
    boards.join("b", member(2), Framing::Hybi, Moment(1_000_000)).expect("room");
    boards.join("b", member(3), Framing::Hybi, Moment(2_000_000)).expect("room");
    assert_eq!(boards.end(Moment(300_999_999), &mut stats.memory), None);
    assert_eq!(boards.end(Moment(301_000_000), &mut stats.memory), Some(member(2)));
    assert_eq!(boards.next_end(), Some(Moment(0)), "one more is to be told");
    assert_eq!(boards.end(Moment(301_000_000), &mut stats.memory), Some(member(3)));
    assert_eq!(boards.end(Moment(301_000_000), &mut stats.memory), None);
    assert_eq!((boards.boards.len(), boards.names.len()), (0, 0));
    assert_eq!(boards.end_reason(), "Board can't exist for more than 5mn");
}

#[test]
fn boards_that_come_and_go_leave_nothing() {
    let (mut boards, mut stats) = (Boards::new(RULES), Stats::default());
    for _ in 0..100_000 {
        let board = boards.join("a", member(1), Framing::Hybi, Moment(0)).expect("room");
        boards.leave(board, member(1), &mut stats.memory);
    }
    assert!(boards.ends.len() <= 2048, "{}", boards.ends.len());
}

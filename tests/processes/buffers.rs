//! Receiving bytes into a buffer of one's own.

use std::io::ErrorKind;

use greenloop::process::{Process, Receiver, channel};

use crate::tests;

tests! {
    n31_into_a_buffer,
    n32_sizes_and_offsets_out_of_range,
}

/// What is left in a buffer that was full of ones.
fn into(receiver: &Receiver<Vec<u8>>, offset: usize) -> (usize, [u8; 6]) {
    let mut buffer = [1; 6];
    (receiver.recv_into(&mut buffer[offset..]).unwrap(), buffer)
}

fn n31_into_a_buffer() {
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    let messages = [vec![7; 6], vec![], vec![8; 3], vec![9; 5], vec![5; 200_000]];
    let child = Process::start(move || {
        messages.iter().for_each(|message| sender.send(message).unwrap());
        sender.send_all(&messages).unwrap();
    })
    .unwrap();
    for _ in ["alone", "with others"] {
        assert_eq!(into(&receiver, 0), (6, [7; 6]));
        assert_eq!(into(&receiver, 6), (0, [1; 6]));
        assert_eq!(into(&receiver, 2), (3, [1, 1, 8, 8, 8, 1]));
        // Too short: the message stays, for whoever asks, and is first.
        for _ in 0..3 {
            assert_eq!(receiver.recv_into(&mut [0; 4]).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(receiver.poll(std::time::Duration::ZERO).unwrap());
        }
        assert_eq!(into(&receiver, 1), (5, [1, 9, 9, 9, 9, 9]));
        let text = receiver.recv_into(&mut [0; 4]).unwrap_err().to_string();
        assert_eq!(text, "the message has 200000 bytes, and the buffer 4");
        assert_eq!(receiver.recv().unwrap(), [5; 200_000]);
    }
    child.join().unwrap();
    assert_eq!(receiver.recv_into(&mut [0; 4]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

fn n32_sizes_and_offsets_out_of_range() {
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    sender.send(&vec![1, 2, 3]).unwrap();
    let mut buffer = [0; 4];
    // An offset is a slice, which is in range or is none.
    assert!(buffer.get_mut(5..).is_none());
    assert!(receiver.recv_into(&mut buffer[2..]).is_err());
    assert!(receiver.recv_into(&mut []).is_err());
    assert_eq!(buffer, [0; 4]);
    assert_eq!(receiver.recv_into(&mut buffer[1..]).unwrap(), 3);
    assert_eq!(buffer, [0, 1, 2, 3]);
    assert_eq!(receiver.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
}

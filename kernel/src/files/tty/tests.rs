//! The discipline by itself, key by key; then a terminal with readers.
use super::discipline::{CAPACITY, Discipline, Key};
use super::*;
use alloc::string::String;
use base::sync::atomic::{AtomicBool, Ordering};
use fs::caller::KernelCaller;
use fs::io::{SliceSink, SliceSource};
use fs::vfs::{read_current, write_current};

/// Types `keys`; what the terminal shows.
fn type_in(tty: &mut Discipline, keys: &[u8]) -> String {
    let mut out = Vec::new();
    let sent = keys.iter().filter_map(|&byte| tty.receive(byte, &mut out)).count();
    assert_eq!(sent, 0, "no key of signals");
    String::from_utf8(out).unwrap()
}
/// What a read of `len` bytes gets; `None`: it would wait.
fn read(tty: &mut Discipline, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    let n = tty.read(&mut bytes)?;
    bytes.truncate(n);
    Some(bytes)
}
fn line(tty: &mut Discipline) -> Option<String> {
    read(tty, CAPACITY).map(|bytes| String::from_utf8(bytes).unwrap())
}
fn with(change: impl FnOnce(&mut Termios)) -> Discipline {
    let mut tty = Discipline::default();
    let mut settings = *tty.settings();
    change(&mut settings);
    tty.set(settings);
    tty
}
fn raw(min: u8) -> Discipline {
    with(|settings| {
        settings.local = 0;
        settings.input = 0;
        settings.keys[abi::VMIN as usize] = min;
    })
}

#[test]
fn a_line_is_read_when_it_has_ended() {
    let mut tty = Discipline::default();
    assert_eq!(type_in(&mut tty, b"ab"), "ab");
    assert_eq!(line(&mut tty), None);
    assert_eq!(type_in(&mut tty, b"c\rde\n"), "c\r\nde\r\n");
    assert_eq!(tty.readable_bytes(), 7);
    assert_eq!(read(&mut tty, 2).unwrap(), b"ab", "a part of a line");
    assert_eq!(line(&mut tty).unwrap(), "c\n", "and never more than one");
    assert_eq!(line(&mut tty).unwrap(), "de\n");
    assert_eq!(line(&mut tty), None);
}

#[test]
fn erase_takes_characters_back_as_wide_as_they_are() {
    let mut tty = Discipline::default();
    assert_eq!(type_in(&mut tty, b"ax\x7f"), "ax\x08 \x08");
    assert_eq!(type_in(&mut tty, b"\x01\x7f"), "^A\x08 \x08\x08 \x08", "a control character");
    assert_eq!(type_in(&mut tty, b"\t\x7f"), "\t\x08\x08\x08\x08\x08\x08\x08", "from column 1 to 8 and back");
    assert_eq!(type_in(&mut tty, b"\x7f\x7f\x7f\r"), "\x08 \x08\r\n", "nothing before the line");
    assert_eq!(line(&mut tty).unwrap(), "\n");

    let mut tty = with(|settings| settings.local &= !abi::ECHOE);
    assert_eq!(type_in(&mut tty, b"ab\x7f\r"), "ab^?\r\n");
    assert_eq!(line(&mut tty).unwrap(), "a\n");
}

#[test]
fn a_tab_counts_from_where_the_line_began() {
    let mut tty = Discipline::default();
    let mut out = Vec::new();
    b"sh> ".iter().for_each(|&byte| tty.process(byte, &mut out));
    assert_eq!(type_in(&mut tty, b"a\t\x7f"), "a\t\x08\x08\x08", "from column 5 to 8");
}

#[test]
fn the_bytes_of_a_character_are_erased_together() {
    let mut tty = with(|settings| settings.input |= abi::IUTF8);
    assert_eq!(type_in(&mut tty, "ä€x\x7f\x7f\r".as_bytes()), "ä€x\x08 \x08\x08 \x08\r\n");
    assert_eq!(line(&mut tty).unwrap(), "ä\n");
    let mut tty = Discipline::default();
    type_in(&mut tty, "ä\x7f".as_bytes());
    type_in(&mut tty, b"\r");
    assert_eq!(read(&mut tty, 9).unwrap(), b"\xc3\n", "without IUTF8 a byte is a character");
}

#[test]
fn words_and_lines_are_erased() {
    let mut tty = Discipline::default();
    let shown = type_in(&mut tty, b"one two.. \x17");
    assert_eq!(shown.matches("\x08 \x08").count(), 6);
    assert_eq!(type_in(&mut tty, b"x\r"), "x\r\n");
    assert_eq!(line(&mut tty).unwrap(), "one x\n");

    let shown = type_in(&mut tty, b"abc\x15");
    assert_eq!(shown, "abc\x08 \x08\x08 \x08\x08 \x08");
    type_in(&mut tty, b"d\r");
    assert_eq!(line(&mut tty).unwrap(), "d\n");

    let mut tty = with(|settings| settings.local &= !abi::ECHOKE);
    assert_eq!(type_in(&mut tty, b"abc\x15d\r"), "abc^U\r\nd\r\n");
    assert_eq!(line(&mut tty).unwrap(), "d\n");
    let mut tty = with(|settings| settings.local &= !abi::IEXTEN);
    type_in(&mut tty, b"a b\x17\r");
    assert_eq!(line(&mut tty).unwrap(), "a b\x17\n", "the key of words belongs to the extensions");
}

#[test]
fn the_literal_key_and_the_key_that_shows_the_line_again() {
    let mut tty = Discipline::default();
    assert_eq!(type_in(&mut tty, b"a\x16\x03\x16\x16b\x12\r"), "a^\x08^C^\x08^Vb^R\r\na^C^Vb\r\n");
    assert_eq!(line(&mut tty).unwrap(), "a\x03\x16b\n");
    assert_eq!(type_in(&mut tty, b"x\x16\ny\r"), "x^\x08^Jy\r\n");
    assert_eq!(line(&mut tty).unwrap(), "x\ny\n", "one line of two");
}

#[test]
fn end_of_file_ends_a_read_and_stands_in_no_line() {
    let mut tty = Discipline::default();
    assert_eq!(type_in(&mut tty, b"ab\x04"), "ab");
    assert_eq!(line(&mut tty).unwrap(), "ab");
    assert_eq!(line(&mut tty), None, "that was no end");
    type_in(&mut tty, b"\x04c\r");
    assert!(tty.is_readable(1) && tty.readable_bytes() == 2);
    assert_eq!(line(&mut tty).unwrap(), "", "this is one");
    assert_eq!(line(&mut tty).unwrap(), "c\n");
}

#[test]
fn other_ends_of_lines() {
    let mut tty = with(|settings| {
        settings.keys[abi::VEOL as usize] = b';';
        settings.keys[abi::VEOL2 as usize] = b'|';
    });
    assert_eq!(type_in(&mut tty, b"a;b|c"), "a;b|c");
    assert_eq!((line(&mut tty).unwrap(), line(&mut tty).unwrap(), line(&mut tty)), ("a;".into(), "b|".into(), None));
}

#[test]
fn echo_as_the_flags_say() {
    let mut tty = with(|settings| settings.local &= !abi::ECHO);
    assert_eq!(type_in(&mut tty, b"secret\x7f\x15s\r"), "");
    assert_eq!(line(&mut tty).unwrap(), "s\n");
    let mut tty = with(|settings| settings.local = settings.local & !abi::ECHO | abi::ECHONL);
    assert_eq!(type_in(&mut tty, b"secret\r"), "\r\n");
    let mut tty = with(|settings| settings.local &= !abi::ECHOCTL);
    assert_eq!(type_in(&mut tty, b"\x01\x7f"), "\x01", "nothing to rub out");
}

#[test]
fn line_ends_of_the_input_are_translated() {
    let typed = |flags| {
        let mut tty = with(|settings| {
            settings.input = flags;
            settings.local = 0;
        });
        type_in(&mut tty, b"\r\n\xc1");
        read(&mut tty, 9).unwrap()
    };
    assert_eq!(typed(0), b"\r\n\xc1");
    assert_eq!(typed(abi::ICRNL), b"\n\n\xc1");
    assert_eq!(typed(abi::INLCR), b"\r\r\xc1");
    assert_eq!(typed(abi::IGNCR | abi::ICRNL), b"\n\xc1");
    assert_eq!(typed(abi::ISTRIP), b"\r\nA");
}

#[test]
fn output_is_processed_as_the_flags_say() {
    let shown = |flags: u32| {
        let mut tty = with(|settings| settings.output = flags);
        let mut out = Vec::new();
        b"\ra\tb\r\n".iter().for_each(|&byte| tty.process(byte, &mut out));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(shown(abi::ONLCR), "\ra\tb\r\n", "nothing without OPOST");
    assert_eq!(shown(abi::OPOST | abi::ONLCR), "\ra\tb\r\r\n");
    assert_eq!(shown(abi::OPOST | abi::OCRNL), "\na\tb\n\n");
    assert_eq!(shown(abi::OPOST | abi::ONOCR), "a\tb\r\n");
    assert_eq!(shown(abi::OPOST | abi::XTABS), "\ra       b\r\n");
}

#[test]
fn keys_send_signals_and_forget_what_was_typed() {
    for (byte, key, shown) in [(3, Key::Interrupt, "ab^C"), (0x1c, Key::Quit, "ab^\\"), (0x1a, Key::Suspend, "ab^Z")] {
        let mut tty = Discipline::default();
        type_in(&mut tty, b"gone\r");
        let mut out = type_in(&mut tty, b"ab").into_bytes();
        assert_eq!(tty.receive(byte, &mut out), Some(key));
        assert_eq!(out, shown.as_bytes());
        assert_eq!(line(&mut tty), None);
        assert_eq!(type_in(&mut tty, b"c\r"), "c\r\n");
        assert_eq!(line(&mut tty).unwrap(), "c\n");
    }
    let mut tty = with(|settings| settings.local |= abi::NOFLSH);
    type_in(&mut tty, b"stays\r");
    assert_eq!(tty.receive(3, &mut Vec::new()), Some(Key::Interrupt));
    assert_eq!(line(&mut tty).unwrap(), "stays\n");
    let mut tty = with(|settings| settings.local &= !abi::ISIG);
    type_in(&mut tty, b"\x03\r");
    assert_eq!(line(&mut tty).unwrap(), "\x03\n");
    let mut tty = with(|settings| settings.keys[abi::VINTR as usize] = 0);
    type_in(&mut tty, b"\0\x03\r");
    assert_eq!(line(&mut tty).unwrap(), "\0\x03\n", "a key that is switched off is no NUL");
}

#[test]
fn raw_bytes_are_there_at_once() {
    let mut tty = raw(1);
    assert_eq!(type_in(&mut tty, b"\x03\x04\x7f\r"), "");
    assert!(tty.is_readable(4) && !tty.is_readable(5));
    assert_eq!(read(&mut tty, 3).unwrap(), b"\x03\x04\x7f");
    assert_eq!(read(&mut tty, 3).unwrap(), b"\r");
    assert_eq!(read(&mut tty, 3), None);
}

#[test]
fn what_was_typed_survives_a_change_of_mode() {
    let mut tty = Discipline::default();
    let lines = *tty.settings();
    type_in(&mut tty, b"one\rtw");
    tty.set(*raw(1).settings());
    assert_eq!(read(&mut tty, 5).unwrap(), b"one\nt");
    type_in(&mut tty, b"o\r");
    tty.set(lines);
    assert_eq!(line(&mut tty).unwrap(), "wo\r", "a line of what there was");
    type_in(&mut tty, b"x\r");
    assert_eq!(line(&mut tty).unwrap(), "x\n");
}

#[test]
fn a_line_that_is_too_long_is_cut_and_can_be_ended() {
    let mut tty = with(|settings| settings.input |= abi::IMAXBEL);
    let shown = type_in(&mut tty, &[b'a'; CAPACITY + 10]);
    assert_eq!(shown.matches('\x07').count(), 11);
    assert!(tty.has_room(), "the end of the line must be heard");
    type_in(&mut tty, b"\r");
    assert!(!tty.has_room());
    assert_eq!(line(&mut tty).unwrap().len(), CAPACITY);
    assert!(tty.has_room());

    let mut tty = raw(1);
    type_in(&mut tty, &[b'a'; CAPACITY + 10]);
    assert!(!tty.has_room());
    assert_eq!(tty.readable_bytes(), CAPACITY);
}

/// A device that remembers what it showed.
struct Screen {
    shown: SpinLock<Vec<u8>>,
    dumb: AtomicBool,
}
impl Console for Screen {
    fn write(&self, bytes: &[u8]) {
        self.shown.lock().extend(bytes);
    }
    fn room_made(&self) {}
    fn has_input(&self) -> bool {
        !self.dumb.load(Ordering::Relaxed)
    }
}

fn terminal() -> (Arc<Tty>, Arc<Screen>, Arc<File>) {
    let screen = Arc::new(Screen { shown: SpinLock::new(Vec::new()), dumb: AtomicBool::new(false) });
    let tty = Tty::new(&System::new(), 0, screen.clone());
    let file = tty.open();
    (tty, screen, file)
}
fn read_file(file: &Arc<File>, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let n = read_current(file, 0, &mut SliceSink::new(&mut bytes), &KernelCaller)?;
    bytes.truncate(n);
    Ok(bytes)
}
fn set_raw(tty: &Tty, min: u8, time: u8) {
    let mut settings = tty.settings();
    settings.local &= !abi::ICANON;
    (settings.keys[abi::VMIN as usize], settings.keys[abi::VTIME as usize]) = (min, time);
    tty.set(settings, false);
}

#[test]
fn a_reader_waits_for_a_line_and_poll_tells_of_it() {
    let (tty, screen, file) = terminal();
    assert!(!file.ops().readiness(&file).readable);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_file(&file, 100));
        tty.receive(b"hel");
        tty.receive(b"lo\r");
        assert_eq!(reader.join().unwrap().unwrap(), b"hello\n");
    });
    assert_eq!(*screen.shown.lock(), b"hello\r\n");
    assert_eq!(write_current(&file, 0, &mut SliceSource::new(&[b'\n'; 300]), &KernelCaller), Ok(300));
    assert_eq!(screen.shown.lock().len(), 7 + 600);
    screen.shown.lock().clear();
    tty.fresh_line();
    tty.receive(b"x");
    tty.fresh_line();
    assert_eq!(*screen.shown.lock(), b"x\r\n");
    tty.receive(b"\r");
    assert!(file.ops().readiness(&file).readable);
    tty.flush_input();
    assert!(!file.ops().readiness(&file).readable);
}

#[test]
fn who_does_not_wait_is_told_so() {
    let (tty, _screen, file) = terminal();
    file.set_flags(OpenFlags::NONBLOCK);
    tty.receive(b"part");
    assert_eq!(read_file(&file, 9), Err(Errno::EAGAIN));
    tty.receive(b"\r\x04");
    assert_eq!(read_file(&file, 9).unwrap(), b"part\n");
    assert_eq!(read_file(&file, 9).unwrap(), b"");
    set_raw(&tty, 2, 0);
    assert_eq!(read_file(&file, 9), Err(Errno::EAGAIN));
    tty.receive(b"z");
    assert!(!file.ops().readiness(&file).readable, "one byte is not two");
    assert_eq!(read_file(&file, 9).unwrap(), b"z", "but all there is for who does not wait");
}

#[test]
fn raw_reads_wait_for_as_many_bytes_and_as_long_as_they_are_told() {
    let (tty, _screen, file) = terminal();
    set_raw(&tty, 0, 0);
    assert_eq!(read_file(&file, 9).unwrap(), b"");
    set_raw(&tty, 0, 1);
    let start = time::now_ns();
    assert_eq!(read_file(&file, 9).unwrap(), b"");
    assert!(time::now_ns() - start >= TENTH_NS);
    set_raw(&tty, 5, 1);
    tty.receive(b"abc");
    assert_eq!(read_file(&file, 9).unwrap(), b"abc", "no fourth came in time");
    tty.receive(b"abcdefg");
    assert_eq!(read_file(&file, 6).unwrap(), b"abcdef");
    assert_eq!(read_file(&file, 1).unwrap(), b"g", "no more than there is room for is waited for");
    set_raw(&tty, 3, 0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_file(&file, 9));
        "xyz".bytes().for_each(|byte| tty.receive(&[byte]));
        assert_eq!(reader.join().unwrap().unwrap(), b"xyz");
    });
}

#[test]
fn a_device_without_input_is_at_its_end() {
    let (_tty, screen, file) = terminal();
    screen.dumb.store(true, Ordering::Relaxed);
    assert_eq!(read_file(&file, 9).unwrap(), b"");
    assert!(file.ops().readiness(&file).hung_up);
}

#[test]
fn an_interrupted_read_takes_nothing() {
    let (tty, _screen, file) = terminal();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            base::sched::current().interrupt();
            read_file(&file, 9)
        });
        assert_eq!(reader.join().unwrap(), Err(Errno::EINTR));
    });
    tty.receive(b"x\r");
    assert_eq!(read_file(&file, 9).unwrap(), b"x\n");
}

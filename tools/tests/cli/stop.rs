//! `keha serve` is told to stop while others are stuck: cameras that do not answer, one that listens no more, clients
//! that do not ask to the end.

use crate::server::{Server, camera, directory, recorded, until};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Within which a server that is told to stop has ended.
const STOP: Duration = Duration::from_secs(5);

const DESCRIPTION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:track1\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:track2\r\n";

/// What a camera does with those who come.
#[derive(Clone, Copy)]
enum Manner {
    /// Takes connections and never answers.
    Mute,
    /// Answers until it plays, and then sends packets and listens no more.
    Deaf,
}

/// A camera; its address.
fn rude(manner: Manner) -> String {
    watched(manner).0
}

/// A camera: its address, and how many came to it.
fn watched(manner: Manner) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || match manner {
                // Kept open for as long as the test lasts.
                Manner::Mute => std::mem::forget(stream),
                Manner::Deaf => drop(deaf(&stream)),
            });
        }
    });
    (format!("rtsp://{address}/x"), came)
}

fn deaf(mut stream: &TcpStream) -> std::io::Result<()> {
    let (mut method, mut number) = (String::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.split_once(' ') {
            Some((first, _)) if line.ends_with("RTSP/1.0") => method = first.to_owned(),
            Some(("CSeq:", value)) => number = value.to_owned(),
            None if line.is_empty() => {
                let head = format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n");
                let rest = match &*method {
                    "DESCRIBE" => format!(
                        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{DESCRIPTION}",
                        DESCRIPTION.len()
                    ),
                    "SETUP" => "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n".to_owned(),
                    _ => "\r\n".to_owned(),
                };
                stream.write_all(format!("{head}{rest}").as_bytes())?;
                if method == "PLAY" {
                    break;
                }
            }
            _ => {}
        }
    }
    for number in 0_u32.. {
        let [.., high, low] = number.to_be_bytes();
        let mut packet = vec![b'$', 0, 0, 14, 0x80, 0xe0, high, low];
        packet.extend(number.wrapping_mul(3000).to_be_bytes());
        packet.extend([0, 0, 0, 1, 0x65, 0x88]);
        stream.write_all(&packet)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn nobody_who_is_stuck_keeps_a_server_from_ending_in_time_and_from_losing_nothing() {
    let stuck = |name: &str, manner| format!("[[cameras]]\nname = \"{name}\"\nurl = \"{}\"\n", rude(manner));
    let dir = directory(&format!(
        "{}{}{}",
        camera("front", ""),
        stuck("mute", Manner::Mute),
        stuck("deaf", Manner::Deaf)
    ));
    let mut server = Server::start(dir.path());
    server.await_samples("front", 10);
    server.await_samples("deaf", 10);
    let mut clients = Vec::new();
    let (tested, came) = watched(Manner::Mute);
    for (path, body) in [("cameras", 100), ("camera-tests", 0)] {
        let mut client = TcpStream::connect(server.address()).expect("it listens");
        let test = format!("{{\"url\":\"{tested}\"}}");
        let request = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{test}",
            server.address(),
            test.len() + body
        );
        client.write_all(request.as_bytes()).expect("it is taken");
        clients.push(client);
    }
    // The first request never comes to its end.
    until("the camera being tested", || (came.load(Ordering::SeqCst) == 1).then_some(()));
    let counted = server.await_samples("front", 20)["streams"][0]["samples"].as_u64().expect("a number");
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
    assert!(server.log().contains("everything is on the disk"), "{}", server.log());
    let (samples, runs, gaps) = recorded(dir.path(), "main.ring", "front");
    assert!(samples >= counted && (runs, gaps) == (1, 0), "{samples} of {counted}, {runs}, {gaps}");
}

/// A camera was recorded without its sound, and whoever tried it first had not been told.
#[test]
fn trying_a_camera_tells_what_of_it_cannot_be_recorded() {
    let dir = directory("");
    let server = Server::start(dir.path());
    let test = format!("{{\"url\":\"{}\"}}", rude(Manner::Deaf));
    let (status, body) = server.ask("POST", "/api/v1/camera-tests", &test, None);
    assert_eq!(status, 200, "{body}");
    let offer: serde_json::Value = serde_json::from_str(&body).expect("a document");
    assert_eq!(offer["tracks"][0]["codec"], "avc1");
    let skipped = offer["skipped"].as_array().expect("a list");
    assert!(skipped.len() == 1 && skipped[0].as_str().is_some_and(|why| why.contains("opus")), "{offer}");
}

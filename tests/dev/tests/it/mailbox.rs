//! The mailbox: what it takes and what its pages show.

use dev::gateway::Gateway;
use dev::mailbox::Mailbox;
use dev::runtime::{Pool, RuntimeApi};
use dev::template::Template;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Sends texts, and returns everything that was answered until the end of the connection.
async fn exchange(address: &str, text: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn send(mailbox: &Mailbox, subject: &str) {
    let dialogue = format!(
        "EHLO x\r\nMAIL FROM:<s@a.example>\r\nRCPT TO:<r@a.example>\r\nDATA\r\n\
        Subject: {subject}\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n..\r\n.\r\nQUIT\r\n"
    );
    let url = mailbox.url();
    let address = url.strip_prefix("smtp://").unwrap();
    let answer = exchange(address, &dialogue).await;
    assert!(answer.ends_with("250 kept\r\n221 bye\r\n"), "{answer}");
}

#[tokio::test]
async fn the_newest_200_mails_are_kept() {
    let mailbox = Mailbox::start().await.unwrap();
    for n in 1..=201 {
        send(&mailbox, &format!("mail {n}")).await;
    }
    let mails = mailbox.mails();
    assert_eq!((mails.len(), mails[0].number), (200, 201));
    assert_eq!(mails[0].recipients, ["r@a.example"]);
    assert!(mailbox.mail(1).is_none());
    assert_eq!(mailbox.mails_after(199).len(), 2);
}

#[tokio::test]
async fn the_pages_show_mails_without_running_anything() {
    let mailbox = Mailbox::start().await.unwrap();
    send(&mailbox, "<b>hello</b>").await;
    let template = Template::parse("Resources: {}").unwrap();
    let pool = Pool::new(RuntimeApi::start().await.unwrap(), Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(listener, template, pool).unwrap();
    gateway.show_mails(mailbox);
    let address = gateway.address().to_string();
    let get = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(&address, &request).await
    };
    let list = get("/dev/mails").await;
    assert!(list.contains("&lt;b&gt;hello&lt;/b&gt;"), "{list}");
    let frame = get("/dev/mails/1").await;
    assert!(
        frame.contains("<iframe sandbox src=\"/dev/mails/1/html\""),
        "{frame}"
    );
    let html = get("/dev/mails/1/html").await;
    assert!(
        html.contains("content-security-policy: sandbox; default-src 'none'"),
        "{html}"
    );
    assert!(
        html.contains("<script>alert(1)</script>\r\n.\r\n"),
        "{html}"
    );
    let raw = get("/dev/mails/1/raw").await;
    assert!(raw.contains("content-type: text/plain"), "{raw}");
    for path in ["/dev/mails/2", "/dev/mails/x", "/dev/mails/1/x"] {
        assert!(get(path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
}

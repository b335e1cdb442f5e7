//! Connecting to the first address of a host that answers (RFC 8305, "happy eyeballs"). Owns: in which order and when the
//! addresses are tried, so that one that leads nowhere does not use up the time of the others (F79).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use super::error::HostError;
use crate::domain::fleet::HostReadError;
use crate::failure::with_reason;

/// How long an address is waited for before the next one is tried beside it: RFC 8305 recommends 250 ms.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Connects to one of the addresses.
///
/// # Errors
/// `Unreachable` with the last failure as its cause, if none of them accepts a connection.
pub(super) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, HostError> {
    let mut waiting = alternate(addresses).into_iter();
    let mut connecting = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(address) => connecting.push(TcpStream::connect(address)),
            None if connecting.is_empty() => break,
            None => {}
        }
        tokio::select! {
            Some(connected) = connecting.next() => match connected {
                Ok(stream) => return configure(stream),
                Err(error) => failure = Some(error),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if waiting.len() > 0 => {}
        }
    }
    Err(failure.map_or_else(
        || HostReadError::Unreachable.into(),
        with_reason(HostReadError::Unreachable),
    ))
}

/// The addresses of both families in turns, beginning with the first: often one family as a whole leads nowhere.
fn alternate(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let starts_with_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let family = |is_ipv6: bool| {
        let addresses = addresses.iter().copied();
        addresses.filter(move |address| address.is_ipv6() == is_ipv6)
    };
    let mut others = family(!starts_with_ipv6);
    let mut ordered = Vec::with_capacity(addresses.len());
    for address in family(starts_with_ipv6) {
        ordered.push(address);
        ordered.extend(others.next());
    }
    ordered.extend(others);
    ordered
}

fn configure(stream: TcpStream) -> Result<TcpStream, HostError> {
    // Without it each exchange waits for the host's delayed acknowledgement.
    stream
        .set_nodelay(true)
        .map_err(with_reason(HostReadError::Unreachable))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Origin: a name with an AAAA record on a network without a route for IPv6. Nothing answers at 192.0.2.0/24
    /// (RFC 5737).
    #[test]
    fn f79_a_black_holed_address_does_not_use_up_the_time_of_the_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port");
            let open = listener.local_addr().expect("an address");
            let hole = |last| SocketAddr::from(([192, 0, 2, last], 22));
            let began = Instant::now();
            let stream = dial(&[hole(1), hole(2), open]).await.expect("a connection");
            assert_eq!(stream.peer_addr().expect("an address"), open);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(5), "{took:?}");
            drop(listener);
            let error = dial(&[open]).await.expect_err("a closed port");
            assert_eq!(error.reason(), HostReadError::Unreachable);
            assert_eq!(error.cause().as_deref(), Some("connection refused"));
            let error = dial(&[]).await.expect_err("no address");
            assert_eq!(error.reason(), HostReadError::Unreachable);
        });
    }

    #[test]
    fn the_families_are_tried_in_turns() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            let parsed = texts.iter().map(|text| text.parse().expect("an address"));
            parsed.collect()
        };
        for (resolved, tried) in [
            (&["1.1.1.1:22"][..], &["1.1.1.1:22"][..]),
            (
                &["[::1]:22", "[::2]:22", "1.1.1.1:22"][..],
                &["[::1]:22", "1.1.1.1:22", "[::2]:22"][..],
            ),
            (
                &["1.1.1.1:22", "1.1.1.2:22", "1.1.1.3:22", "[::1]:22"][..],
                &["1.1.1.1:22", "[::1]:22", "1.1.1.2:22", "1.1.1.3:22"][..],
            ),
            (&[][..], &[][..]),
        ] {
            assert_eq!(alternate(&addresses(resolved)), addresses(tried));
        }
    }
}

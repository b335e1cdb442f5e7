//! The TCP ports that an agent gets on its host. Owns: their ranges, and which free ones are taken.

/// Published ports of agents' bridges.
const BRIDGE_PORTS: std::ops::Range<u16> = 18_790..19_790;
/// Published ports of agents' pages.
const WEB_PORTS: std::ops::Range<u16> = 20_000..25_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub bridge: u16,
    pub web: u16,
}

/// Free ports; `None` if the host has none left. The search begins at a random port so that two starts at
/// the same time seldom choose the same one.
#[must_use]
pub fn free_ports(taken: &[u16], random: u64) -> Option<Ports> {
    let pick = |range: std::ops::Range<u16>| {
        let length = u64::from(range.end - range.start);
        let offset = random % length;
        (0..length)
            .filter_map(|step| u16::try_from((offset + step) % length).ok())
            .map(|step| range.start + step)
            .find(|port| !taken.contains(port))
    };
    Some(Ports {
        bridge: pick(BRIDGE_PORTS)?,
        web: pick(WEB_PORTS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_in_their_ranges_until_none_is_left() {
        for random in [0, 1, 999, 4_999, u64::MAX] {
            let ports = free_ports(&[], random).expect("ports");
            assert!(BRIDGE_PORTS.contains(&ports.bridge) && WEB_PORTS.contains(&ports.web));
            let next = free_ports(&[ports.bridge, ports.web], random).expect("ports");
            assert!(next.bridge != ports.bridge && next.web != ports.web);
        }
        for (random, bridge, web) in [
            (0, 18_790, 20_000),
            (900, 19_690, 20_900),
            (4_999, 19_789, 24_999),
        ] {
            assert_eq!(free_ports(&[], random), Some(Ports { bridge, web }));
        }
        let all: Vec<u16> = BRIDGE_PORTS.collect();
        assert_eq!(free_ports(&all, 7), None);
        let all_but_one: Vec<u16> = BRIDGE_PORTS.filter(|port| *port != 19_000).collect();
        assert_eq!(
            free_ports(&all_but_one, 900).map(|ports| ports.bridge),
            Some(19_000)
        );
    }
}

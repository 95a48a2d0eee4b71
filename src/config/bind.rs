//! `bind`: the addresses to listen on.
//!
//! Names are not looked up and nothing is opened here.

use super::value::{Kind, Setting};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses, in the order given. Empty: no TCP at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind(pub Vec<BindAddress>);

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// An IP address, a host name, `*` (every IPv4 address) or `::*` (every IPv6 address).
    pub host: String,
    /// Written with a `-` in front: it is no error when the machine does not have this address.
    pub optional: bool,
}

impl BindAddress {
    /// The IP address this stands for; none when it is a name that has to be looked up.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host.as_str() {
            "*" => Some(Ipv4Addr::UNSPECIFIED.into()),
            "::*" => Some(Ipv6Addr::UNSPECIFIED.into()),
            host => host.parse().ok(),
        }
    }
}

/// As many as Redis takes.
const MAX_ADDRESSES: usize = 16;

impl Setting for Bind {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        if words.len() > MAX_ADDRESSES {
            return Err("Too many bind addresses specified.".into());
        }
        let addresses = words.iter().map(|word| {
            let (host, optional) = word.strip_prefix('-').map_or((*word, false), |host| (host, true));
            let names_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_%*".contains(&byte);
            if host.is_empty() || !host.bytes().all(names_a_host) {
                return Err(format!("'{word}' is neither an IP address nor a host name"));
            }
            Ok(BindAddress { host: host.to_owned(), optional })
        });
        self.0 = addresses.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        let word =
            |address: &BindAddress| format!("{}{}", if address.optional { "-" } else { "" }, address.host);
        self.0.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_optional_and_wild() {
        let mut bind = Bind::default();
        bind.assign(&Kind::Addresses, &["127.0.0.1", "-::1", "*", "-::*", "queue.example"]).unwrap();
        let ips: Vec<_> =
            bind.0.iter().map(|address| (address.ip().map(|ip| ip.to_string()), address.optional)).collect();
        let expected = [
            (Some("127.0.0.1"), false),
            (Some("::1"), true),
            (Some("0.0.0.0"), false),
            (Some("::"), true),
            (None, false),
        ];
        assert_eq!(ips, expected.map(|(ip, optional)| (ip.map(str::to_owned), optional)));
        assert_eq!(bind.text(&Kind::Addresses), "127.0.0.1 -::1 * -::* queue.example");
    }

    #[test]
    fn refuses_what_cannot_be_an_address() {
        let mut bind = Bind::default();
        assert!(bind.assign(&Kind::Addresses, &["-"]).is_err());
        assert!(bind.assign(&Kind::Addresses, &["127.0.0.1,::1"]).is_err());
        assert_eq!(
            bind.assign(&Kind::Addresses, &["::1"; 17]).unwrap_err(),
            "Too many bind addresses specified."
        );
        bind.assign(&Kind::Addresses, &[]).unwrap();
        assert_eq!(bind, Bind::default());
    }
}

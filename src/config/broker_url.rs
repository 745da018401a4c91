//! The value of one `amqp_connection` modparam: `[zone=NAME;]scheme://[user[:pass]@][host][:port][/vhost]`.
//!
//! Parsed once, while the configuration file is read. Passwords live in [`Secret`], which no formatter prints, and
//! error texts never quote the value, so that no log line can carry one.

use std::fmt;

/// Longest accepted `amqp_connection` value, the limit of the C module.
const MAX_LEN: usize = 512;

/// A password: readable through [`Secret::expose`] only, printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the login and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where and as whom to log in at one broker. `Display` gives `host:port` or `host:port/vhost`, fit for log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// `amqps://`: TLS from the first byte.
    pub tls: bool,
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Virtual host; `/` unless the value names another.
    pub vhost: String,
    /// Login name.
    pub user: String,
    /// Login password.
    pub password: Secret,
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{}:{}", self.host, self.port)?;
        }
        if self.vhost == "/" { Ok(()) } else { write!(f, "/{}", self.vhost) }
    }
}

/// One `amqp_connection` line: a broker and the zone it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Name after `zone=`; `None` means the primary zone.
    pub zone: Option<String>,
    /// The broker.
    pub url: BrokerUrl,
}

/// What is wrong with an `amqp_connection` value. The texts name the part, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The C module's limit.
    #[error("longer than 512 bytes")]
    TooLong,
    /// `zone=` without a name or without the semicolon.
    #[error("bad zone prefix, write zone=NAME;amqp://...")]
    Zone,
    /// No `://`, or a scheme that is none of ours.
    #[error("unknown scheme, write amqp://, amqps:// or kazoo://")]
    Scheme,
    /// A delimiter stands raw inside a part.
    #[error("{0} holds a raw delimiter, write : @ / ? # [ ] as %3A %40 %2F %3F %23 %5B %5D")]
    RawDelimiter(&'static str),
    /// A `%` without two hex digits, or one that stands for NUL or a byte above 0x7F.
    #[error("{0} holds a bad percent code, write %01 to %7F")]
    PercentCode(&'static str),
    /// Port missing after the colon, not a number, 0 or above 65535.
    #[error("bad port, write a number from 1 to 65535")]
    Port,
    /// `[` without `]`, or something between `]` and the port.
    #[error("bad IPv6 address, write [address]")]
    Brackets,
}

impl Connection {
    /// Parses the value of one `amqp_connection`.
    pub fn parse(value: &str) -> Result<Self, UrlError> {
        if value.len() > MAX_LEN {
            return Err(UrlError::TooLong);
        }
        let Some(rest) = value.strip_prefix("zone=") else {
            return Ok(Self { zone: None, url: BrokerUrl::parse(value)? });
        };
        match rest.split_once(';') {
            Some((name, url)) if !name.is_empty() => {
                Ok(Self { zone: Some(name.to_owned()), url: BrokerUrl::parse(url)? })
            }
            _ => Err(UrlError::Zone),
        }
    }
}

impl BrokerUrl {
    /// Parses `scheme://[user[:pass]@][host][:port][/vhost]`, without the zone prefix.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme {
            "amqp" | "kazoo" => false,
            "amqps" => true,
            _ => return Err(UrlError::Scheme),
        };
        let (authority, vhost) = match rest.split_once('/') {
            Some((authority, vhost)) => (authority, component(vhost, "vhost")?),
            None => (rest, "/".to_owned()),
        };
        let (login, address) = match authority.split_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (user, password) = parse_login(login)?;
        let (host, port) = parse_address(address, if tls { 5671 } else { 5672 })?;
        Ok(Self { tls, host, port, vhost, user, password })
    }
}

/// `user[:pass]`; each half that is not there is `guest`.
fn parse_login(login: Option<&str>) -> Result<(String, Secret), UrlError> {
    let Some(login) = login else { return Ok(("guest".to_owned(), Secret("guest".to_owned()))) };
    match login.split_once(':') {
        Some((user, pass)) => Ok((component(user, "user")?, Secret(component(pass, "password")?))),
        None => Ok((component(login, "user")?, Secret("guest".to_owned()))),
    }
}

/// `[host][:port]`, where an IPv6 address stands in brackets.
fn parse_address(address: &str, default_port: u16) -> Result<(String, u16), UrlError> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::Brackets)?;
        let port = match after {
            "" => default_port,
            _ => parse_port(after.strip_prefix(':').ok_or(UrlError::Brackets)?)?,
        };
        let is_address = !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b":.%".contains(&b));
        return if is_address { Ok((host.to_owned(), port)) } else { Err(UrlError::Brackets) };
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (address, default_port),
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { component(host, "host")? };
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if is_number && port > 0 => Ok(port),
        _ => Err(UrlError::Port),
    }
}

/// Checks one part for raw delimiters and undoes its percent codes.
fn component(text: &str, part: &'static str) -> Result<String, UrlError> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ':' | '@' | '/' | '?' | '#' | '[' | ']' => return Err(UrlError::RawDelimiter(part)),
            '%' => decoded.push(percent_code(&mut rest).ok_or(UrlError::PercentCode(part))?),
            _ => decoded.push(c),
        }
    }
    Ok(decoded)
}

/// Two hex digits that stand for 0x01 to 0x7F.
fn percent_code(rest: &mut std::str::Chars<'_>) -> Option<char> {
    let high = rest.next()?.to_digit(16)?;
    let low = rest.next()?.to_digit(16)?;
    char::from_u32(high * 16 + low).filter(|c| ('\x01'..='\x7f').contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end on the first surprise")]

    use super::*;

    fn url(text: &str) -> BrokerUrl {
        BrokerUrl::parse(text).unwrap()
    }

    #[test]
    fn a_full_url_gives_every_part() {
        let url = url("amqp://voip:s3cret@mq-1.example:5673/prod");
        assert_eq!(
            (url.tls, url.user.as_str(), url.password.expose(), url.host.as_str(), url.port, url.vhost.as_str()),
            (false, "voip", "s3cret", "mq-1.example", 5673, "prod")
        );
    }

    #[test]
    fn missing_parts_take_the_defaults() {
        let plain = url("kazoo://");
        assert_eq!((plain.host.as_str(), plain.port, plain.vhost.as_str()), ("localhost", 5672, "/"));
        assert_eq!((plain.user.as_str(), plain.password.expose()), ("guest", "guest"));
        let tls = url("amqps://mq");
        assert_eq!((tls.tls, tls.port), (true, 5671));
        assert_eq!(url("amqp://voip@mq").password.expose(), "guest");
        assert_eq!(url("amqp://voip:@mq").password.expose(), "");
    }

    #[test]
    fn vhost_follows_the_reference() {
        assert_eq!(url("amqp://mq").vhost, "/");
        assert_eq!(url("amqp://mq/").vhost, "");
        assert_eq!(url("amqp://mq/%2F").vhost, "/");
        assert_eq!(BrokerUrl::parse("amqp://mq/a/b"), Err(UrlError::RawDelimiter("vhost")));
        assert_eq!(BrokerUrl::parse("amqp://mq/a?x=1"), Err(UrlError::RawDelimiter("vhost")));
    }

    #[test]
    fn percent_codes_are_decoded_in_every_part() {
        let url = url("amqp://a%40b:p%3aw%2Fd@m%71/v%20h");
        assert_eq!((url.user.as_str(), url.password.expose()), ("a@b", "p:w/d"));
        assert_eq!((url.host.as_str(), url.vhost.as_str()), ("mq", "v h"));
        for bad in ["amqp://u:%8@h", "amqp://u:%zz@h", "amqp://u:%80@h", "amqp://u:%00@h", "amqp://u:%@h"] {
            assert_eq!(BrokerUrl::parse(bad), Err(UrlError::PercentCode("password")), "{bad}");
        }
    }

    #[test]
    fn ipv6_needs_brackets() {
        let v6 = url("amqp://[fe80::1]:5673/x");
        assert_eq!((v6.host.as_str(), v6.port), ("fe80::1", 5673));
        assert_eq!(v6.to_string(), "[fe80::1]:5673/x");
        assert_eq!(url("amqp://[::1]").port, 5672);
        for bad in ["amqp://[::1", "amqp://[]", "amqp://[::1]x", "amqp://[::1]5672", "amqp://[mq]"] {
            assert_eq!(BrokerUrl::parse(bad), Err(UrlError::Brackets), "{bad}");
        }
        assert_eq!(BrokerUrl::parse("amqp://fe80::1"), Err(UrlError::Port));
    }

    #[test]
    fn bad_ports_and_schemes_are_refused() {
        for bad in
            ["amqp://mq:", "amqp://mq:0", "amqp://mq:65536", "amqp://mq:+5", "amqp://mq:abc", "amqp://a:b:c@mq:1x"]
        {
            assert!(BrokerUrl::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "mq", "http://mq", "AMQP://mq", "amqp:/mq"] {
            assert_eq!(BrokerUrl::parse(bad), Err(UrlError::Scheme), "{bad}");
        }
        assert_eq!(BrokerUrl::parse("amqp://a@b@mq"), Err(UrlError::RawDelimiter("host")));
    }

    #[test]
    fn zone_prefix_is_split_off() {
        let connection = Connection::parse("zone=east;amqp://mq").unwrap();
        assert_eq!(connection.zone.as_deref(), Some("east"));
        assert_eq!(Connection::parse("amqp://mq").unwrap().zone, None);
        assert_eq!(Connection::parse("zone=;amqp://mq"), Err(UrlError::Zone));
        assert_eq!(Connection::parse("zone=east"), Err(UrlError::Zone));
        let long = format!("amqp://{}", "h".repeat(MAX_LEN));
        assert_eq!(Connection::parse(&long), Err(UrlError::TooLong));
    }

    #[test]
    fn passwords_are_never_printed() {
        let url = url("amqp://voip:s3cret@mq/prod");
        assert_eq!(url.to_string(), "mq:5672/prod");
        assert!(!format!("{url:?}").contains("s3cret"));
        let error = BrokerUrl::parse("amqp://voip:s3cret:x@mq").unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
    }
}

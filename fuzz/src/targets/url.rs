//! The value of modparam `amqp_connection`.

use kazoo::config::{Connection, UrlError};

pub fn fuzz(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else { return };
    match Connection::parse(value) {
        Ok(Connection { zone, url }) => {
            assert!(!zone.is_some_and(|name| name.is_empty()) && url.port > 0);
            let other = Connection::parse("amqp://user:another@host").expect("a usual one").url;
            assert_eq!(format!("{:?}", url.password), format!("{:?}", other.password), "a password is shown");
        }
        Err(UrlError::TooLong) => assert!(value.len() > 512),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

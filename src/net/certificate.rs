//! Whom a client's certificate names: its common name, taken out of the DER.
//!
//! The certificate has been verified before, so its form is sound; whatever is not as expected names nobody.

/// The common name of a certificate's subject: exactly one, not empty, and nothing in it that a user's name cannot
/// have, a NUL least of all.
pub(super) fn common_name(certificate: &[u8]) -> Option<&str> {
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    let mut subject = subject(certificate)?;
    let mut found = None;
    while !subject.is_empty() {
        let mut names = element(&mut subject, SET)?;
        while !names.is_empty() {
            let mut name = element(&mut names, SEQUENCE)?;
            if element(&mut name, OBJECT)? != COMMON_NAME {
                continue;
            }
            let (tag, text) = next(&mut name)?;
            let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
            if found.is_some() || !is_text {
                return None;
            }
            found = Some(str::from_utf8(text).ok()?);
        }
    }
    let is_name =
        |name: &&str| !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    found.filter(is_name)
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const VERSION: u8 = 0xa0;

/// What is inside of the subject.
fn subject(mut certificate: &[u8]) -> Option<&[u8]> {
    let mut certificate = element(&mut certificate, SEQUENCE)?;
    let mut body = element(&mut certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        element(&mut body, VERSION)?;
    }
    // Serial number, algorithm, issuer, validity.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        element(&mut body, tag)?;
    }
    element(&mut body, SEQUENCE)
}

/// What is inside of the next element, which must have this tag.
fn element<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(input).filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

/// Takes the next element off: its tag and what is inside.
fn next<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [tag, length, rest @ ..] = input else { return None };
    let (length, rest) = match *length {
        short @ ..=0x7f => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((*tag, content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair};

    fn certificate(names: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), name.clone());
        }
        // Long enough for lengths of two bytes.
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![7; 300])];
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_names_one_user_or_nobody() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let same_again = || DnType::CustomDnType(vec![2, 5, 4, 3]);
        for (names, expected) in [
            (vec![(DnType::CommonName, utf8("worker"))], Some("worker")),
            (
                vec![(DnType::OrganizationName, utf8("o")), (DnType::CommonName, utf8("wörker"))],
                Some("wörker"),
            ),
            (
                vec![(DnType::CommonName, DnValue::PrintableString("worker".try_into().unwrap()))],
                Some("worker"),
            ),
            (vec![], None),
            (vec![(DnType::OrganizationName, utf8("worker"))], None),
            (vec![(DnType::CommonName, utf8(""))], None),
            (vec![(DnType::CommonName, utf8("worker\0.evil"))], None),
            (vec![(DnType::CommonName, utf8("wor ker"))], None),
            (vec![(DnType::CommonName, utf8("worker")), (same_again(), utf8("other"))], None),
            (vec![(DnType::CommonName, DnValue::BmpString("worker".try_into().unwrap()))], None),
        ] {
            let der = certificate(&names);
            assert_eq!(common_name(&der), expected, "{names:?}");
            // Whatever is cut off or changed, nothing panics.
            for at in 0..der.len() {
                let _ = common_name(&der[..at]);
                let mut changed = der.clone();
                changed[at] ^= 0x80;
                let _ = common_name(&changed);
            }
        }
    }
}

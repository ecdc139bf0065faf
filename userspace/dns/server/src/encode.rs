//! An engine's answer as a message, for one kind of client.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};

/// Encodes an answer without id and OPT record: both belong to a client. Where a name is the one that was asked for,
/// it becomes a pointer to it, so that it comes back in the client's letter case.
///
/// # Errors
///
/// When the records don't fit into a message of 65,535 bytes.
pub(crate) fn message(
    name: &Name,
    rtype: RecordType,
    rcode: ResponseCode,
    sections: Sections<'_>,
    dnssec_ok: bool,
) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let keep = |records: &[Record], longest: u32| -> Vec<Record> {
        records
            .iter()
            .filter(|record| dnssec_ok || !only_for_validators(record, rtype))
            .map(|record| {
                let mut record = record.clone();
                if record.name == *name {
                    record.name = name.clone();
                }
                record.ttl = record.ttl.min(longest);
                record
            })
            .collect()
    };
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.response_code = rcode;
    message.add_query(Query::query(name.clone(), rtype));
    message.answers = keep(sections.answers, sections.longest);
    message.authorities = keep(sections.authorities, sections.longest_beside);
    message.to_vec()
}

/// The sections of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    pub(crate) answers: &'a [Record],
    pub(crate) authorities: &'a [Record],
    /// Longest time to live that clients are told of the answers, in seconds.
    pub(crate) longest: u32,
    /// The same of the authorities, which may deny something.
    pub(crate) longest_beside: u32,
}

/// Records that only clients with the DO bit get, unless they are what was asked for (RFC 4035 section 3.2.1).
fn only_for_validators(record: &Record, asked: RecordType) -> bool {
    let rtype = record.record_type();
    rtype != asked && matches!(rtype, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;

    #[test]
    fn owners_are_pointers_to_the_question_whatever_their_case() {
        let name = Name::from_ascii("www.example.net.").unwrap();
        let answers = [
            Record::from_rdata(
                Name::from_ascii("WWW.Example.NET.").unwrap(),
                60,
                RData::CNAME(CNAME(Name::from_ascii("host.example.net.").unwrap())),
            ),
            Record::from_rdata(
                Name::from_ascii("host.example.net.").unwrap(),
                60,
                RData::A(A::new(192, 0, 2, 1)),
            ),
        ];
        let sections =
            Sections { answers: &answers, authorities: &[], longest: 30, longest_beside: 10 };
        let wire = message(&name, RecordType::A, ResponseCode::NoError, sections, false).unwrap();
        assert_eq!(wire.get(12 + 17 + 4..12 + 17 + 4 + 2), Some(&[0xc0, 12][..]));
        let decoded = Message::from_vec(&wire).unwrap();
        assert_eq!(decoded.answers.len(), 2);
        assert_eq!(decoded.answers[0].name, name);
        assert!(decoded.answers.iter().all(|record| record.ttl == 30), "60 is longer");
    }
}

title: DNSKEY, NS, SOA and NSEC3PARAM at the apex are answers like others
why: RFC 4035 section 3.1.

world usual
zone example.test nsec3
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask example.test DNSKEY
expect NOERROR secure
expect at most 14 queries
ask example.test NS
expect NOERROR secure
expect answer example.test NS ns1.example.test.
ask example.test SOA
expect NOERROR secure
ask . NS
expect NOERROR secure
expect answer . NS a.root.
ask . SOA
expect NOERROR secure

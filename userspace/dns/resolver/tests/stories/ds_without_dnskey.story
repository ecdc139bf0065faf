title: The parent has a DS record, and the zone no keys
why: RFC 4035 section 5.2; RFC 8914 code 9. A zone that was unsigned before the DS record was removed.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  ds_without_dnskey

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 9
expect at most 40 queries
ask www.example.test A cd
expect answer www.example.test A 203.0.113.1

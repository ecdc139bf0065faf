title: An expired signature
why: RFC 4035 section 5.3.1: the commonest fault of signed zones.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  expired for www.example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 7
expect at most 40 queries
ask mail.example.test A
expect NOERROR secure
ask www.example.test A cd
expect NOERROR bogus
expect answer www.example.test A 203.0.113.1
ask www.example.test A
expect SERVFAIL bogus

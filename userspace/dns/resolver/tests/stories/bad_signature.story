title: A signature that does not fit
why: RFC 4035 section 5.3.3.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  bad_signature for www.example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 6
expect at most 40 queries
ask mail.example.test A
expect NOERROR secure
ask www.example.test A cd
expect NOERROR bogus
expect answer www.example.test A 203.0.113.1
ask www.example.test A
expect SERVFAIL bogus

title: A signature that is missing
why: RFC 4035 section 5.5: stripping signatures must not make a signed zone unsigned.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  missing_signature for www.example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 10
expect at most 40 queries
ask mail.example.test A
expect NOERROR secure
ask www.example.test A cd
expect NOERROR bogus
expect answer www.example.test A 203.0.113.1
ask www.example.test A
expect SERVFAIL bogus

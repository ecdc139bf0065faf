title: A signature of the future
why: RFC 4035 section 5.3.1: a signer with a wrong clock.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  not_yet_valid for www.example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 8
expect at most 40 queries
ask mail.example.test A
expect NOERROR secure
ask www.example.test A cd
expect NOERROR bogus
expect answer www.example.test A 203.0.113.1
ask www.example.test A
expect SERVFAIL bogus

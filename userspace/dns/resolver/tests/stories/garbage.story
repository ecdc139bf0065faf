title: One of two servers sends nonsense (garbage)
why: RFC 1035: what can't be read is from nobody. The other server is asked, and nothing breaks.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  garbage
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect within 4s
ask mail.example.test A
expect NOERROR secure
expect within 4s

title: Two of four servers are silent, and nobody knows it yet
why: RFC 9520 section 2.1; a dead server costs the patience with a stranger, not a timeout, and never more than one question as many queries as it has servers.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  dead
server ns2.example.test 10.0.1.2 serves example.test
server ns3.example.test 10.0.1.3 serves example.test
  dead
server ns4.example.test 10.0.1.4 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect within 600ms
expect at most 16 queries
ask mail.example.test A
expect NOERROR secure
expect within 100ms
expect at most 2 queries

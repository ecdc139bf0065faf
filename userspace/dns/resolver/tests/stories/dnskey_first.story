title: The first question of all is one for keys
why: A monitoring system asks for DNSKEY; that must not depend on what was asked before.

world usual
zone example.test signed split
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask example.test DNSKEY
expect NOERROR secure
expect at most 14 queries
ask www.example.test A
expect NOERROR secure

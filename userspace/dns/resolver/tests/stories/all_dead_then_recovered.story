title: All servers are dead, and come back
why: RFC 9520 section 3.2 bounds how long a failure is remembered (5 minutes at most, and 1 s at least); a zone must not stay dead after its servers recovered.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
server ns2.example.test 10.0.1.2 serves example.test

---
server ns1.example.test dies
server ns2.example.test dies
ask www.example.test A
expect SERVFAIL
expect ede 22
expect within 4s
expect at most 24 queries
server ns1.example.test recovers
server ns2.example.test recovers
time passes 5m
ask www.example.test A
expect NOERROR secure
expect within 2s

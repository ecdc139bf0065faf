title: What a client took unchecked is bogus
why: RFC 4035 section 4.7: a bad copy in the cache must not stand in the way of a good one that a server would give.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  bad_signature

---
ask www.example.test A cd
expect NOERROR
server ns1.example.test behaves
ask www.example.test A
expect NOERROR secure

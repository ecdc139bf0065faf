title: A signed zone is made to look unsigned
why: Stripping the DS record and the proof (downgrade): RFC 4035 section 5.2.

zone . signed
zone test signed
zone example.test signed ds=none
  www A 6.6.6.6
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
  missing_signature for example.test
  stripped_denial
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL bogus

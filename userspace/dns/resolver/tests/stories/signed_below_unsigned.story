title: A signed zone below an unsigned one
why: RFC 4035 section 4.3: the chain ends above, and below it everything is insecure, even bad signatures.

world usual
zone plain.test
zone signed.plain.test signed
  www A 203.0.113.1
server ns.plain.test 10.0.1.1 serves plain.test
server ns.signed.plain.test 10.0.1.2 serves signed.plain.test
  bad_signature

---
ask www.signed.plain.test A
expect NOERROR insecure

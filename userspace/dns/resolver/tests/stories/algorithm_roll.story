title: A zone between two algorithms
why: RFC 6781 section 4.1.4: one valid chain is enough, whichever algorithm it has.

world usual
zone example.test signed algorithm=ecdsa,ed25519 ds=first
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure

title: Two algorithms, and nobody knows one of them
why: RFC 6840 section 5.11: validators accept any single valid path.

world usual
zone example.test signed algorithm=200,ed25519
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure

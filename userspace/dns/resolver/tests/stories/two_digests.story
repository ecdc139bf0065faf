title: A DS record with SHA-1 beside SHA-384
why: RFC 8624: the better one is enough; SHA-1 for delegations is not needed.

world usual
zone example.test signed digest=1,4
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure

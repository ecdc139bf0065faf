title: A zone with two key signing keys, of which the parent knows one
why: RFC 6781 section 4.1.2 (double signature).

world usual
zone example.test signed ksks=2 split ds=first
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure

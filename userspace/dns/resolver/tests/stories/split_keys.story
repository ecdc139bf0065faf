title: Keys of their own sign the data
why: RFC 6781 section 3.1: a key signing key and a zone signing key.

world usual
zone example.test signed split
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
